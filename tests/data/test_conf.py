"""Every file of conf/data names existing classes with exactly their arguments."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from unified_laws.data.prepare import prepare
from unified_laws.data.sources.base import Source
from unified_laws.data.tokenizers.base import Tokenizer

FILES = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))


def _build(node: dict[str, Any]) -> Any:
    module, _, name = node["_target_"].rpartition(".")
    cls = getattr(import_module(module), name)
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    assert set(arguments) == set(inspect.signature(cls).parameters)
    return cls(**arguments)


def test_there_are_files() -> None:
    assert {file.stem for file in FILES} == {"c4", "sotu", "sotu_tiny", "text"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_builds_and_says_what_it_is(file: Path) -> None:
    content = file.read_text()
    assert content.startswith("# ")
    conf = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(conf, dict)
    assert isinstance(_build(conf.pop("source")), Source)
    assert isinstance(_build(conf.pop("tokenizer")), Tokenizer)
    assert set(conf) == {"val_fraction", "max_tokens", "max_val_tokens"}
    assert set(conf) < set(inspect.signature(prepare).parameters)
    for name in ("max_tokens", "max_val_tokens"):
        assert conf[name] is None or isinstance(conf[name], int)
