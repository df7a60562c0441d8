"""The table of CONTRIBUTING.md: layers import downwards only, siblings never each other."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "unified_laws"

# folder -> folders of ours it may import from (errors.py is open to all)
ALLOWED: dict[str, set[str]] = {
    "records": set(),
    "compression": set(),
    "model": set(),
    "data": {"records"},
    "laws": set(),
    "figures": {"laws", "records"},
    "training": {"model", "data", "compression", "records"},
    "cli": {"compression", "laws", "model", "records"},
}
# folder -> third-party packages it may import
LIBRARIES: dict[str, set[str]] = {
    "records": set(),
    "compression": {"torch", "numpy", "scipy"},
    "model": {"torch"},
    "data": {"torch", "numpy", "datasets", "tokenizers", "huggingface_hub"},
    "laws": {"numpy", "scipy"},
    "figures": {"numpy", "matplotlib"},
    "training": {"torch", "lightning"},
    "cli": {"hydra", "omegaconf", "yaml", "rich"},
}


def imports(path: Path) -> set[str]:
    """Every module a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def test_every_folder_is_in_the_table() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders == set(ALLOWED) == set(LIBRARIES)


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_layers_import_downwards_only(folder: str) -> None:
    for path in files(folder):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "unified_laws" and len(parts) > 1 and parts[1] != "errors":
                assert parts[1] in ALLOWED[folder] | {folder}, f"{path} imports {name}"


@pytest.mark.parametrize("folder", sorted(LIBRARIES))
def test_layers_use_their_libraries_only(folder: str) -> None:
    for path in files(folder):
        for name in imports(path):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names | {"unified_laws", "__future__"}:
                assert top in LIBRARIES[folder], f"{path} imports {name}"


def test_only_entry_modules_and_cli_know_hydra() -> None:
    for folder in set(ALLOWED) - {"cli"}:
        for path in files(folder):
            tops = {name.partition(".")[0] for name in imports(path)}
            assert not tops & {"hydra", "omegaconf"}, path


def test_no_configuration_is_python_and_no_module_is_called_utils() -> None:
    assert not list((ROOT / "conf").rglob("*.py"))
    names = {path.stem for path in PACKAGE.rglob("*.py")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_files_stay_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert max(lengths.values()) <= 400, max(lengths, key=lambda p: lengths[p])
    assert statistics.median(lengths.values()) < 150


def test_laws_can_be_fitted_without_torch() -> None:
    code = (
        "import sys; import unified_laws.laws.fitting, unified_laws.figures.page;"
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
