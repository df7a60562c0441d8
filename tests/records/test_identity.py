from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unified_laws.errors import UsageError
from unified_laws.records.identity import INCIDENTAL, MEANING, canonical, identity_of, run_id

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_the_two_lists_cover_every_key_of_the_training_configuration() -> None:
    content = yaml.safe_load((CONF / "train.yaml").read_text())
    groups = {key for entry in content.pop("defaults") if isinstance(entry, dict) for key in entry}
    keys = set(content) | groups
    assert set(MEANING) | set(INCIDENTAL) == keys
    assert not set(MEANING) & set(INCIDENTAL)


def test_a_key_nobody_decided_about_is_refused() -> None:
    with pytest.raises(UsageError, match="brand_new"):
        identity_of({"seed": 0, "brand_new": 1})


def test_incidental_keys_do_not_change_the_id_and_the_others_do() -> None:
    base = dict.fromkeys(MEANING, 1) | dict.fromkeys(INCIDENTAL, 1)
    original = run_id(identity_of(base))
    for key in INCIDENTAL:
        assert run_id(identity_of(base | {key: 2})) == original, key
    for key in MEANING:
        assert run_id(identity_of(base | {key: 2})) != original, key


def test_equal_meanings_have_equal_ids() -> None:
    assert run_id({"a": 1, "b": [1, 2]}) == run_id({"b": (1.0, 2), "a": 1.0})
    assert run_id({"a": 1}) != run_id({"a": 1.5})
    assert run_id({"a": None}) != run_id({"a": False})


def test_names_do_not_change_the_id() -> None:
    def named(name: str) -> str:
        return run_id(identity_of({"model": {"name": name, "width": 3}, "format": {"name": name}}))

    assert named("int4") == named("w4a16")


def test_stable_over_processes() -> None:
    code = (
        "from unified_laws.records.identity import run_id;"
        "print(run_id({'b': {'y': .1, 'x': [1, 'é']}, 'a': None}))"
    )
    ids = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"},
        ).stdout
        for seed in ("1", "2")
    }
    assert ids == {run_id({"a": None, "b": {"x": [1, "é"], "y": 0.1}}) + "\n"}


def test_objects_without_a_stable_form_are_refused() -> None:
    with pytest.raises(UsageError, match="no stable form"):
        canonical({"a": object()})


def test_a_key_that_nobody_listed_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown key .formt. of a run; did you mean format\?"):
        identity_of({"formt": "int4"})
