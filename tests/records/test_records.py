from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest

from unified_laws.errors import UsageError
from unified_laws.records.collect import collect_records, to_csv
from unified_laws.records.files import read_json, write_bytes, write_json
from unified_laws.records.record import RunRecord, read_record, write_record


def record(**changes: object) -> RunRecord:
    base = RunRecord(
        run_id="0123456789",
        status="finished",
        format="int4",
        label="int4",
        model="micro",
        num_params=100,
        num_params_total=200,
        num_tokens=1000,
        tokens_per_param=10.0,
        unique_tokens=1000,
        epochs=0.5,
        seed=0,
        steps=5,
        val_loss=0.1 + 0.2,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    written = record(config={"a": [1, {"b": None}]})
    write_record(written, tmp_path)
    assert read_record(tmp_path) == written


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_record(record(train_loss=math.nan), tmp_path)
    assert read_record(tmp_path).train_loss is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"status": "finished"}', "", '{"run_id": "x", "status": "cooking"}']
)
def test_damaged_records_are_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"record\.json") as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == content


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write .*No space left on device"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_collected_tables_keep_every_digit_and_diverged_rows(tmp_path: Path) -> None:
    write_record(record(), tmp_path / "b")
    write_record(record(format="bf16", status="diverged", val_loss=None), tmp_path / "a")
    lines = to_csv(collect_records(tmp_path)).splitlines()
    assert lines[0].startswith("format,num_params,num_tokens,val_loss,seed,status")
    assert [line.split(",")[0] for line in lines[1:]] == ["bf16", "int4"]
    assert lines[1].split(",")[3] == ""
    assert float(lines[2].split(",")[3]) == 0.1 + 0.2


def test_collecting_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        collect_records(tmp_path / "absent")
    with pytest.raises(UsageError, match="holds no run"):
        collect_records(tmp_path)


def test_records_are_plain_json(tmp_path: Path) -> None:
    write_record(record(), tmp_path)
    assert json.loads((tmp_path / "record.json").read_text())["num_params"] == 100
