"""Every command of the README is executed; every link of the documents resolves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEXT, run_module
from unified_laws.cli.entry import compose

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Executed elsewhere in reduced form, or (make test) what is running now.
ELSEWHERE = {
    "make demo": "tests/test_pipeline.py",
    "make test": "the test command itself",
    "python -m unified_laws.sweep sweep=demo action=launch": "tests/test_pipeline.py",
}
# Need a GPU or the hub: their configuration is composed.
COMPOSED = ("data=c4",)


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def small(cache_dir: Path) -> list[str]:
    """Overrides that turn a training command of the README into one of seconds."""
    return [
        "data=sotu_tiny",
        f"data.source.path={TEXT}",
        "model.batch_size=4",
        "model.seq_len=32",
        "num_tokens=512",
        "validation.max_tokens=1024",
        f"cache_dir={cache_dir}",
    ]


def test_the_readme_opens_with_its_two_commands() -> None:
    assert commands()[:2] == ["make demo", "make test"]
    for command, where in ELSEWHERE.items():
        assert command in commands()
        assert not where.endswith(".py") or (ROOT / where).exists()


@pytest.mark.parametrize("command", [c for c in commands() if c not in ELSEWHERE])
def test_commands_of_the_readme(command: str, cache_dir: Path, tmp_path: Path) -> None:
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"], f"no rule to execute {command!r}"
    module, arguments = words[2].removeprefix("unified_laws."), words[3:]
    if any(word in COMPOSED for word in arguments):
        assert compose(module, arguments)["devices"] == 8
        return
    if module == "train":
        if "data=text" in arguments:
            rows = TEXT.read_text(encoding="utf-8").split("<|endoftext|>")
            import json

            lines = [json.dumps({"text": row.strip()}) for row in rows if row.strip()]
            (tmp_path / "my_corpus.jsonl").write_text("\n".join(lines))
            extra = [o for o in small(cache_dir) if not o.startswith("data")]
        else:
            extra = small(cache_dir)
        arguments = [*extra, *arguments]  # -m stays last
    elif module in ("collect", "fit", "report", "predict"):
        write_runs(tmp_path, arguments)
    elif module == "sweep":
        arguments = [*arguments, f"cache_dir={cache_dir}"]
    done = run_module(module, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in arguments:
        key, _, value = word.partition("=")
        if key == "out":
            assert (tmp_path / value).exists(), command


def write_runs(folder: Path, arguments: list[str]) -> None:
    """What the commands before this one in the README would have left."""
    from tests.records.test_records import record
    from unified_laws.records.collect import collect_records, to_csv
    from unified_laws.records.record import write_record

    for format, rho in (("bf16", 1.0), ("int4", 0.8)):
        for index, (n, d) in enumerate([(1e5, 1e6), (1e5, 1e7), (1e6, 1e7), (1e6, 1e8)]):
            loss = 20 * (n * rho) ** -0.3 + 90 * d**-0.3 + 1.5
            written = record(
                run_id=f"{format}{index}",
                format=format,
                num_params=int(n),
                num_tokens=int(d),
                val_loss=loss + 1e-3 * (-1) ** index,
            )
            write_record(written, folder / "runs" / written.run_id)
    table = to_csv(collect_records(folder / "runs"))
    (folder / "runs.csv").write_text(table)
    head, _, rest = table.partition("\n")
    names = {"format": "label", "num_params": "N", "num_tokens": "D", "val_loss": "loss"}
    mapped = ",".join(names.get(c, "their_" + c) for c in head.split(","))
    (folder / "losses.csv").write_text(f"{mapped}\n{rest.replace('bf16,', 'BF16,')}")
    if any("laws.json" in word for word in arguments):
        done = run_module("fit", "runs=runs.csv", "out=laws", "bootstrap=20", cwd=folder)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document",
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")],
    ids=lambda p: p.name,
)
def test_links_resolve_and_nothing_of_the_workplace_is_named(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
    assert "@" not in re.sub(r"`[^`]*`|\S+@\S+\.\S+", "", text) or document.name != "README.md"
