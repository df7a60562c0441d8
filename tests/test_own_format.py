"""CONTRIBUTING's guide "Add a format", executed outside the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, assert_one_line_error

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def train(
    folder: Path, *arguments: str, package: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(package)} if package else {})
    return subprocess.run(
        [sys.executable, "-m", "unified_laws.train", "--config-dir", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


def record(tmp_path: Path) -> dict[str, object]:
    (path,) = (tmp_path / "runs").glob("*/record.json")
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def block_of_the_guide() -> tuple[str, str]:
    """The name and the text of the YAML in the guide."""
    section = GUIDE.partition("## Add a format")[2].partition("\n## ")[0]
    found = re.search(r"```yaml\n(# conf/format/(\w+)\.yaml.*?)```", section, re.DOTALL)
    assert found, "the guide shows a YAML that begins with its path"
    return found[2], found[1]


def test_a_format_of_known_parts_is_one_yaml(tiny: list[str], tmp_path: Path) -> None:
    name, text = block_of_the_guide()
    conf = tmp_path / "mine"
    (conf / "format").mkdir(parents=True)
    (conf / "format" / f"{name}.yaml").write_text(text)
    done = train(conf, f"+format={name}", *tiny, "num_tokens=1024")
    assert done.returncode == 0, done.stdout + done.stderr
    found = record(tmp_path)
    assert found["status"] == "finished"
    assert found["format"] == name
    config = found["config"]
    assert isinstance(config, dict)
    quantizer = config["format"]["weight"]["quantizer"]
    assert (quantizer["bits"], quantizer["scale"]) == (3, "absmax")


MECHANISM = '''
"""Keeps the sign and the mean magnitude of a row."""

from typing import final

import torch

from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer


@final
class SignOfRow(Quantizer):
    """sign(y) times factor times the mean of |y| over the row."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def project(self, y, support):
        limit = self.factor * y.abs().mean(-1, keepdim=True)
        value = torch.where(y >= 0, limit, -limit)
        if support is not None:
            value = torch.where(support, value, 0.0)
        return Projection(value=value, limit=limit, reach=2 * limit)

    is_identity = False
    bits = 1.0

    def scale_bits(self, in_features):
        return 16.0

    def gaussian_values(self, y, spread):
        return None

    def gaussian_edges(self, spread):
        return None

    def bind(self, in_features):
        return self
'''
FORMAT = """\
# one bit by the mean magnitude of a row
defaults:
  - /compression/transform@weight.transform: hadamard
  - /compression/sparsifier@weight.sparsifier: semi_structured
  - /compression/backward_mask@weight.backward_mask: forward
  - /compression/quantizer@weight.quantizer: sign_of_row
  - /compression/gradient@weight.gradient: trust
  - _self_
name: one_sign
weight:
  sparsifier: {kept: 2, group: 4}
activation: null
"""


def test_a_mechanism_is_one_file_and_one_yaml(tiny: list[str], tmp_path: Path) -> None:
    """In a package of the user's, which a configuration names only if it is trusted."""
    package, conf = tmp_path / "site", tmp_path / "mine"
    (package / "my_package").mkdir(parents=True)
    (package / "my_package" / "__init__.py").write_text("")
    (package / "my_package" / "sign_of_row.py").write_text(MECHANISM)
    (conf / "format").mkdir(parents=True)
    (conf / "format" / "one_sign.yaml").write_text(FORMAT)
    (conf / "compression" / "quantizer").mkdir(parents=True)
    (conf / "compression" / "quantizer" / "sign_of_row.yaml").write_text(
        "_target_: my_package.sign_of_row.SignOfRow\nfactor: 1.0\n"
    )
    few = [*tiny, "num_tokens=1024", "+format=one_sign"]
    refused = train(conf, *few, package=package)
    assert_one_line_error(refused, ["my_package.sign_of_row.SignOfRow", "trusted_packages"])
    trusted = "trusted_packages=[my_package]"
    done = train(conf, *few, trusted, "format.weight.quantizer.factor=0.9", package=package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path)["status"] == "finished"
    out = tmp_path / "gmse.json"
    arguments = ["formats=[one_sign]", "samples=65536", "block=16384", f"out={out}", trusted]
    measured = subprocess.run(
        [sys.executable, "-m", "unified_laws.gmse", "--config-dir", str(conf), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(package)},
    )
    assert measured.returncode == 0, measured.stderr
    (row,) = json.loads(out.read_text())
    assert row["format"] == "one_sign"
    # 2:4 prunes .1324; the mean of all is a poor level for the larger half
    assert 0.3 < row["gmse"] < 0.6
    assert row["bits_per_weight"] == pytest.approx(0.5 + 16 / 1024 + 0.646241, abs=1e-6)
