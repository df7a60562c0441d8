from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unified_laws.errors import UsageError
from unified_laws.laws.table import read_runs

HEAD = "format,num_params,num_tokens,val_loss"
GOOD = "bf16,1e6,2e7,3.5\nint4,1e6,2e7,3.6\n"


def write(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_csv(tmp_path: Path) -> None:
    table = read_runs(write(tmp_path, f"{HEAD}\n{GOOD}"))
    assert table.formats == ("bf16", "int4")
    np.testing.assert_array_equal(table.num_params, [1e6, 1e6])
    np.testing.assert_array_equal(table.num_tokens, [2e7, 2e7])
    np.testing.assert_array_equal(table.val_loss, [3.5, 3.6])
    assert table.seed.tolist() == [-1, -1]
    assert np.isnan(table.epochs).all()
    assert table.val_loss_stderr is None
    assert table.left_out == ()


def test_byte_order_mark_and_spaces_do_no_harm(tmp_path: Path) -> None:
    text = (
        "\ufeff format , num_params,num_tokens,val_loss\r\nbf16, 1e6 ,2e7,3.5\r\nbf16,2e6,2e7,3\r\n"
    )
    assert read_runs(write(tmp_path, text)).num_params.tolist() == [1e6, 2e6]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_json_says_the_same_as_csv(tmp_path: Path, kind: str) -> None:
    rows = [
        {"format": "bf16", "num_params": 1000000, "num_tokens": 2e7, "val_loss": 3.5, "seed": 3},
        {"format": "int4", "num_params": 1000000, "num_tokens": 2e7, "val_loss": 3.6, "seed": 4},
    ]
    text = json.dumps(rows) if kind == "json" else "\n".join(json.dumps(r) for r in rows) + "\n\n"
    table = read_runs(write(tmp_path, text, f"runs.{kind}"))
    assert table.formats == ("bf16", "int4")
    assert table.seed.tolist() == [3, 4]
    assert table.val_loss.tolist() == [3.5, 3.6]


def test_columns_map_our_names_to_theirs(tmp_path: Path) -> None:
    path = write(tmp_path, "label,N,num_tokens,loss\nBF16,1e6,2e7,3.5\nBF16,2e6,2e7,3.4\n")
    columns = {"format": "label", "num_params": "N", "val_loss": "loss"}
    assert read_runs(path, columns=columns, dense="BF16").num_params.tolist() == [1e6, 2e6]


def test_unfinished_and_repeated_runs_are_left_out_and_said(tmp_path: Path) -> None:
    text = (
        f"{HEAD},status,epochs\nbf16,1e6,2e7,3.5,finished,0.5\nbf16,2e6,2e7,3.4,finished,1.0\n"
        "bf16,2e6,2e7,nan,diverged,0.5\nbf16,2e6,2e9,3.1,finished,4\n"
    )
    path = write(tmp_path, text)
    table = read_runs(path)
    assert len(table) == 2
    assert {entry.reason: entry.runs for entry in table.left_out} == {
        "status is 'diverged', not 'finished'": 1,
        "repeated data (epochs > 1); allow_repeated keeps them": 1,
    }
    assert len(read_runs(path, allow_repeated=True)) == 3


def test_duplicates_are_kept_as_replicates_with_a_remark(tmp_path: Path) -> None:
    text = f"{HEAD},seed\nbf16,1e6,2e7,3.5,0\nbf16,1e6,2e7,3.6,0\nbf16,1e6,2e7,3.4,1\n"
    table = read_runs(write(tmp_path, text))
    assert len(table) == 3
    assert len(table.warnings) == 1
    assert "1 of 3 runs repeat" in table.warnings[0]


@pytest.mark.parametrize(
    ("value", "column", "shown"),
    [
        ("nan", "val_loss", "'nan'"),
        ("inf", "val_loss", "'inf'"),
        ("three", "val_loss", "'three'"),
        ("0", "val_loss", "'0'"),
        ("-3", "num_params", "'-3'"),
        ("0", "num_tokens", "'0'"),
        ("", "num_tokens", "nothing"),
        ("", "format", "nothing"),
    ],
)
def test_impossible_values_name_line_column_and_value(
    tmp_path: Path, value: str, column: str, shown: str
) -> None:
    row = {"format": "bf16", "num_params": "1e6", "num_tokens": "2e7", "val_loss": "3.5"}
    row[column] = value
    path = write(tmp_path, f"{HEAD}\n{GOOD}{','.join(row.values())}\n")
    with pytest.raises(UsageError, match="allowed is") as caught:
        read_runs(path)
    message = str(caught.value)
    assert f"{path}, line 4: column {column!r} has {shown};" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (f"{HEAD}\n", "has a header and no rows"),
        (f"{HEAD}\nbf16,1e6,2e7,3.5\n", "1 usable run"),
        (f"{HEAD}\nint4,1e6,2e7,3.5\nint3,1e6,2e7,3.6\n", "it has int3, int4; .*dense=<label>"),
        (f"{HEAD}\n{GOOD}bf16,1e6,2e7,3.5,9\n", "line 4 has more than the 4 values"),
        ("label,num_params,num_tokens,val_loss\n" + GOOD, "no column 'format'.*it has label"),
    ],
)
def test_unusable_tables(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_runs(write(tmp_path, text))


def test_missing_file_wrong_encoding_and_broken_json(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_runs(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="cannot read"):
        read_runs(tmp_path)
    path = tmp_path / "latin.csv"
    path.write_bytes(f"{HEAD}\nétage,1e6,2e7,3\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_runs(path)
    with pytest.raises(UsageError, match=r"runs\.jsonl, line 2 is not valid JSON"):
        read_runs(write(tmp_path, '{"format": "bf16"}\n{oh\n', "runs.jsonl"))
    with pytest.raises(UsageError, match="JSON list"):
        read_runs(write(tmp_path, "{}", "runs.json"))
    with pytest.raises(UsageError, match="item 1 holds a int"):
        read_runs(write(tmp_path, "[1]", "runs.json"))


def test_mapping_of_an_unknown_or_absent_column(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}\n{GOOD}")
    with pytest.raises(UsageError, match="columns= maps size"):
        read_runs(path, columns={"size": "N"})
    with pytest.raises(UsageError, match="no column 'rng' for seed"):
        read_runs(path, columns={"seed": "rng"})
