"""Names of formats and what they compose to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import run_module
from unified_laws.cli.build import format_label, load_format
from unified_laws.cli.entry import compose
from unified_laws.cli.format_names import canonical_name, known_names
from unified_laws.cli.paths import config_dir
from unified_laws.compression.backward_mask.forward import ForwardMask
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gradient.clip import Clip
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.quantizer.uniform import UniformQuantizer
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.compression.transform.identity import Identity


def config_of(name: str) -> dict[str, object]:
    found = compose("train", [f"+format={name}"])["format"]
    assert isinstance(found, dict)
    return found


def weight_of(name: str) -> Compressor:
    weight = load_format(name).weight
    assert weight is not None
    return weight


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("bf16", "bf16"),
        ("w16a16", "bf16"),
        ("int4", "int4"),
        ("w4a16", "int4"),
        ("sparse50_int4", "int4_sparse50"),
        ("w4a16_sparse2of4", "int4_sparse2of4"),
        ("sparse50_w4a8", "w4a8_sparse50"),
        ("bf16_sparse50", "sparse50"),
        ("w16a4", "w16a4"),
    ],
)
def test_twins_have_one_name_and_one_content(name: str, canonical: str) -> None:
    assert canonical_name(name, config_dir()) == canonical
    assert config_of(name) == config_of(canonical)
    assert load_format(name).name == canonical


def test_the_dense_baseline_compresses_nothing() -> None:
    assert load_format("bf16").weight is None
    assert load_format("bf16").activation is None


@pytest.mark.parametrize("bits", range(1, 9))
def test_integers_are_quests(bits: int) -> None:
    weight = weight_of(f"int{bits}")
    assert load_format(f"int{bits}").activation is None
    assert isinstance(weight.transform, Hadamard)
    assert isinstance(weight.quantizer, UniformQuantizer)
    assert weight.quantizer.bits == bits
    assert isinstance(weight.gradient, Clip if bits == 1 else Trust)
    values = weight(torch.randn(4, 256, generator=torch.Generator().manual_seed(bits)))
    _, levels, _ = weight.encoded(torch.randn(1, 4096))
    assert values.shape == (4, 256)
    assert len(set(levels.flatten().tolist())) <= 2**bits


@pytest.mark.parametrize("percent", [5, 37.5, 50, 95])
def test_sparse_percent(percent: float) -> None:
    weight = weight_of(f"sparse{percent:g}")
    assert isinstance(weight.transform, Identity)
    assert isinstance(weight.sparsifier, Magnitude)
    assert isinstance(weight.backward_mask, ForwardMask)
    pruned = (weight(torch.randn(64, 128)) == 0).float().mean().item()
    assert pruned == pytest.approx(percent / 100, abs=1e-4)


def test_sparse_of_and_mixes() -> None:
    weight = weight_of("int4_sparse2of4")
    assert isinstance(weight.sparsifier, SemiStructured)
    assert (weight.sparsifier.kept, weight.sparsifier.group) == (2, 4)
    assert isinstance(weight.quantizer, UniformQuantizer)
    y, value, support = weight.encoded(torch.randn(8, 128))
    assert support is not None
    assert torch.equal(value != 0, support)
    assert y.shape == value.shape


def test_pairs_have_the_same_operator_on_both_sides() -> None:
    config = config_of("w4a4")
    assert config["weight"] == config["activation"] == config_of("int4")["weight"]
    config = config_of("w1a8_sparse50")
    assert config["activation"] == config_of("int8")["weight"]
    assert isinstance(weight_of("w1a8_sparse50").gradient, Clip)
    assert isinstance(weight_of("w1a8_sparse50").sparsifier, Magnitude)


def test_every_known_name_composes_to_what_it_is_called() -> None:
    names = known_names(config_dir())
    assert len(names) > 1000
    for name in names[:: len(names) // 40]:
        assert canonical_name(canonical_name(name, config_dir()), config_dir()) == canonical_name(
            name, config_dir()
        )
        load_format(name)


def test_numbers_and_stages_change_on_the_command_line() -> None:
    changed = compose(
        "train",
        [
            "+format=int4_sparse50",
            "format.weight.sparsifier.sparsity=0.75",
            "compression/gradient@format.weight.gradient=clip",
        ],
    )["format"]
    assert changed["weight"]["sparsifier"]["sparsity"] == 0.75
    assert changed["weight"]["gradient"]["clip_scale"] == 1.3
    label = format_label(changed)
    assert label.startswith("int4_sparse50[")
    assert "weight.sparsifier.sparsity=0.75" in label


def test_a_users_format_is_one_yaml(tmp_path: Path) -> None:
    folder = tmp_path / "format"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "defaults:\n"
        "  - /compression/transform@weight.transform: identity\n"
        "  - /compression/sparsifier@weight.sparsifier: dense\n"
        "  - /compression/backward_mask@weight.backward_mask: full\n"
        "  - /compression/quantizer@weight.quantizer: uniform\n"
        "  - /compression/gradient@weight.gradient: straight_through\n"
        "  - _self_\n"
        "name: mine\n"
        "weight: {quantizer: {bits: 3, scale: absmax, scope: tensor}}\n"
        "activation: null\n"
    )
    done = run_module("train", "--config-dir", str(tmp_path), "+format=mine", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "scale: absmax" in done.stdout


def test_gmse_of_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "gmse.json"
    done = run_module("gmse", "formats=[bf16,int4,sparse50,w4a4,int4_sparse50]", f"out={out}")
    assert done.returncode == 0, done.stderr
    rows = {row["format"]: row for row in json.loads(out.read_text())}
    # papers.md §9 and arXiv:2506.01863 Table 3 constants: .820, .553
    assert rows["int4"]["gmse"] == pytest.approx(0.01154, rel=1e-3)
    assert rows["int4"]["rho_predicted"] == pytest.approx(0.820, abs=1e-3)
    assert rows["int4"]["bits_per_weight"] == pytest.approx(4 + 16 / 1024)
    assert rows["sparse50"]["gmse"] == pytest.approx(0.071326, rel=1e-4)
    assert rows["sparse50"]["rho_predicted"] == pytest.approx(0.553, abs=1e-3)
    assert rows["sparse50"]["bits_per_weight"] == pytest.approx(8 + 1)
    assert rows["sparse50"]["gmse_activation"] is None
    assert rows["w4a4"]["gmse_activation"] == pytest.approx(rows["int4"]["gmse"])
    assert rows["w4a4"]["rho_predicted"] == pytest.approx(rows["int4"]["rho_predicted"] ** 2)
    assert rows["bf16"]["rho_predicted"] == 1
    assert rows["bf16"]["effective_bits"] is None
    mixed = rows["int4_sparse50"]
    assert mixed["gmse"] > rows["sparse50"]["gmse"]
    assert mixed["rate_distortion_gap_bits"] == pytest.approx(
        mixed["bits_per_weight"] - mixed["effective_bits"]
    )
    assert set(mixed) == {
        "format",
        "gmse",
        "stderr",
        "gmse_activation",
        "effective_bits",
        "bits_per_weight",
        "rate_distortion_gap_bits",
        "rho_predicted",
    }
