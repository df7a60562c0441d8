"""The commands of docs/intervals.md, executed on a planted table."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT, assert_one_line_error, run_module
from tests.laws.planted_runs import planted_table
from unified_laws.laws.result import LawsResult
from unified_laws.records.files import read_json

PAGE = (ROOT / "docs" / "intervals.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def write_tables(folder: Path) -> None:
    table = planted_table(2e-3, rho={"bf16": 1.0, "int4": 0.8})
    rows = [
        f"{table.formats[i]},{table.num_params[i]},{table.num_tokens[i]},{table.val_loss[i]:.6f}"
        for i in range(len(table))
    ]
    head = "format,num_params,num_tokens,val_loss,seed\n"
    (folder / "runs.csv").write_text(head + "\n".join(row + ",0" for row in rows))
    theirs = "\n".join(row.replace("bf16", "BF16") + ",0.004" for row in rows)
    (folder / "losses.csv").write_text("label,N,D,loss,stderr\n" + theirs)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page(command: str, tmp_path: Path) -> None:
    write_tables(tmp_path)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "unified_laws.fit"]
    done = run_module("fit", *words[3:], "bootstrap=0", "starts=20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    laws = LawsResult.from_json(read_json(tmp_path / "laws" / "laws.json"))
    assert laws.interval == "profile"
    effect = "random_effect=block" in words
    assert (laws.components is not None) == effect
    assert (laws.weights is not None) != effect
    assert ("random effect of the block (reml" in done.stdout) == effect


def test_a_wrong_choice_is_one_line(tmp_path: Path) -> None:
    write_tables(tmp_path)
    done = run_module("fit", "runs=runs.csv", "random_effect=block", cwd=tmp_path)
    assert_one_line_error(done, ["objective=least_squares", "random_effect=null"])
    done = run_module("fit", "runs=runs.csv", "delta=tiny", cwd=tmp_path)
    assert_one_line_error(done, ["delta is 'tiny'", "auto"])
