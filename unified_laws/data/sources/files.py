"""From what a user writes as a path to the files it means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unified_laws.errors import UsageError


def matching_files(path: str | Sequence[str], extensions: Sequence[str]) -> list[Path]:
    """The files meant by a file, a folder, a glob pattern, or a list of these; sorted.

    A folder means all files below it that have one of the extensions. Empty files are left out.

    Args:
        path: what the user wrote.
        extensions: allowed ends of a file's name, e.g. ".txt".

    Raises:
        UsageError: nothing is there, nothing but empty files is there, or a file has another
            extension.
    """
    allowed = ", ".join(extensions)
    found: set[Path] = set()
    for entry in [path] if isinstance(path, str) else path:
        place = Path(entry).expanduser()
        if place.is_dir():
            files = {file for file in place.rglob("*") if file.name.endswith(tuple(extensions))}
            if not files:
                raise UsageError(f"the folder {entry} holds no file of the kinds {allowed}")
        elif place.is_file():
            files = {place}
        else:
            files = {file for file in _glob(place) if file.is_file()}
            if not files:
                raise UsageError(
                    f"no such file, folder or pattern: {entry} (looked in {Path.cwd()}); "
                    "give an existing path"
                )
        found |= files
    for file in sorted(found):
        if not file.name.endswith(tuple(extensions)):
            raise UsageError(f"cannot read text from {file}; allowed extensions are {allowed}")
    filled = [file for file in sorted(found) if file.stat().st_size > 0]
    if not filled:
        raise UsageError(f"{path} is empty; give a file with text")
    return filled


def _glob(pattern: Path) -> list[Path]:
    """Files matching a relative or absolute pattern."""
    if not any(sign in str(pattern) for sign in "*?["):
        return []
    root = Path(pattern.anchor) if pattern.anchor else Path()
    return list(root.glob(str(pattern.relative_to(pattern.anchor))))
