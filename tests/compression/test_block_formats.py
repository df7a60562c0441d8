"""Block formats, bit for bit against torchao, and the published errors."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from unified_laws.compression.gmse import gmse
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.quantizer.block import BlockQuantizer
from unified_laws.compression.quantizer.microscaling import MicroscalingQuantizer
from unified_laws.compression.quantizer.two_level import TwoLevelQuantizer
from unified_laws.compression.storage import bits_per_weight
from unified_laws.errors import UsageError

from .builders import compressor, normal

ELEMENTS: dict[str, tuple[int, int, str]] = {
    "e2m1": (2, 1, "none"),
    "e2m3": (2, 3, "none"),
    "e3m2": (3, 2, "none"),
    "e4m3": (4, 3, "nan"),
    "e5m2": (5, 2, "ieee"),
    "int8": (1, 6, "none"),
}
RULES = ("floor", "rceil", "ceil", "even")


def mx(element: str, scale_rule: str = "floor", **changed: Any) -> MicroscalingQuantizer:
    exponent, mantissa, reserve = ELEMENTS[element]
    arguments: dict[str, Any] = {
        "exponent": exponent,
        "mantissa": mantissa,
        "reserve": reserve,
        "scale": "absmax",
        "scale_rule": scale_rule,
        "four_thirds": False,
        "group_size": 32,
        "statistics": "kept",
    }
    return MicroscalingQuantizer(**{**arguments, **changed})


def nv(mantissa: int = 1, **changed: Any) -> TwoLevelQuantizer:
    arguments: dict[str, Any] = {
        "exponent": 3 - mantissa,
        "mantissa": mantissa,
        "scale": "absmax",
        "four_over_six": False,
        "group_size": 16,
        "statistics": "kept",
    }
    return TwoLevelQuantizer(**{**arguments, **changed})


EVERY: list[BlockQuantizer] = [
    *(mx(element, rule) for element in ELEMENTS for rule in RULES),
    mx("e2m1", four_thirds=True),
    nv(),
    nv(four_over_six=True),
    nv(mantissa=2),
]


def blocks() -> Tensor:
    """Random blocks of every size, and some of zeros, powers of two, ties and single values."""
    size = 2.0 ** torch.arange(-60, 60).repeat(10)[:, None]
    x = normal(1200, 64) * size
    x[::7, :32] = 0
    x[1::7] = size[1::7] * 2.0 ** torch.randint(
        -6, 3, (len(size[1::7]), 64), generator=torch.Generator().manual_seed(0)
    )
    x[2::7] = (x[2::7] / size[2::7] * 4).round() / 4 * size[2::7]
    x[3::7, 1:] = 0
    return x


def same_bits(a: Tensor, b: Tensor) -> bool:
    number = ~a.isnan()
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a[number] + 0.0, b[number] + 0.0)


def torchao(module: str) -> Any:
    logging.disable(logging.WARNING)  # of its kernels for CUDA, which are not there
    try:
        return pytest.importorskip(f"torchao.prototype.mx_formats.{module}")
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")  # torchao's own deprecations
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("element", ["e2m1", "e2m3", "e3m2", "e4m3", "e5m2"])
def test_microscaling_is_that_of_torchao(element: str, rule: str) -> None:
    mx_tensor = torchao("mx_tensor")
    theirs = {
        "e2m1": torch.float4_e2m1fn_x2,
        "e2m3": mx_tensor.DTYPE_FP6_E2M3,
        "e3m2": mx_tensor.DTYPE_FP6_E3M2,
        "e4m3": torch.float8_e4m3fn,
        "e5m2": torch.float8_e5m2,
    }[element]
    x = blocks()
    if element in ("e4m3", "e5m2"):  # torchao casts NaN to a number in 4 and 6 bits
        x[4, 3], x[5, 3] = torch.nan, torch.inf
    mode = mx_tensor.ScaleCalculationMode(rule)
    scale, data = mx_tensor.to_mx(x, theirs, 32, mode)
    expected = mx_tensor.to_dtype(data, scale, theirs, 32, torch.float32)
    found = mx(element, rule).project(x, None).value
    assert same_bits(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_nvfp4_is_that_of_torchao() -> None:
    nvfp4_tensor = torchao("nvfp4_tensor")
    for seed in range(20):
        x = normal(64, 128, seed=seed) * 2.0 ** (4 * normal(64, 1, seed=seed + 99)).round()
        x[::5, :16] = 0
        scale = nvfp4_tensor.per_tensor_amax_to_scale(x.abs().max())
        theirs = nvfp4_tensor.NVFP4Tensor.to_nvfp4(x, per_tensor_scale=scale)
        assert same_bits(nv().project(x, None).value, theirs.dequantize(torch.float32))


def error_of(quantizer: BlockQuantizer) -> float:
    c = compressor(quantizer=quantizer)
    found = gmse(c, samples=2**21, in_features=1024, seed=0, block=2**19)
    assert found.method == "monte carlo"
    return found.value


@pytest.mark.parametrize(  # methods.md §5, block of 32; Monte Carlo of their digits
    ("element", "errors"),
    [
        ("e4m3", (0.00086, 0.00070, 0.00070, 0.00076)),
        ("e5m2", (0.00291, 0.00279, None, None)),
        ("e2m3", (0.00081, 0.00080, 0.00133, 0.00080)),
        ("e3m2", (0.00291, 0.00279, None, None)),
        ("e2m1", (0.01323, 0.01335, 0.02081, 0.01253)),
    ],
)
def test_published_errors(element: str, errors: tuple[float | None, ...]) -> None:
    for rule, error in zip(RULES, errors, strict=True):
        if error is not None:
            # half of the last digit printed, and one percent of both estimates
            assert error_of(mx(element, rule)) == pytest.approx(error, rel=0.01, abs=6e-6)


def test_published_errors_of_two_levels() -> None:
    """methods.md §5 and §3.1: 9.04e-3 and, four over six, 7.6e-3."""
    assert error_of(nv()) == pytest.approx(0.00904, rel=0.01)
    assert error_of(nv(four_over_six=True)) == pytest.approx(0.0076, rel=0.01)
    assert error_of(nv(mantissa=2)) == pytest.approx(
        0.0073, rel=0.03
    )  # papers.md: fp32 scale .00726


@pytest.mark.parametrize("quantizer", EVERY, ids=str)
def test_laws(quantizer: BlockQuantizer) -> None:
    quantizer = quantizer.bind(64)
    y, support = normal(8, 64), normal(8, 64, seed=1) > 0
    y[0], y[1, :32] = 0, 0
    levels = len(quantizer.numbers.levels())
    for kept in (None, support):
        projection = quantizer.project(y, kept)
        value, limit, reach = projection.value, projection.limit, projection.reach
        assert limit is not None
        assert reach is not None
        assert value.isfinite().all()
        assert (value[0] == 0).all()
        assert (value[1, :32] == 0).all()
        assert (value.abs() <= limit * (1 + 1e-6)).all()
        assert (reach >= limit).all()
        assert torch.equal(quantizer.project(2 * y, kept).value, 2 * value)
        assert torch.equal(quantizer.project(-y, kept).value, -value)
        for block in value.reshape(-1, quantizer.group_size):
            assert len(torch.unique(block)) <= levels
        flow = Trust().flow(y, projection)
        assert flow is not None
        assert flow[1:].any()
    assert (quantizer.project(y, support).value[~support] == 0).all()
    assert quantizer.project(torch.zeros(2, 64), None).value.abs().max() == 0
    assert quantizer.project(torch.full((2, 64), 1e-42), None).value.isfinite().all()
    assert quantizer.project(torch.full((2, 64), torch.nan), None).value.isnan().all()
    assert quantizer.project(y.bfloat16(), None).value.dtype == torch.bfloat16
    stored = bits_per_weight(compressor(quantizer=quantizer))
    assert stored == quantizer.numbers.bits + 8 / quantizer.group_size


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("rule", RULES)
def test_nan_stays_in_its_block(element: str, rule: str) -> None:
    y = normal(2, 64)
    clean = mx(element, rule).project(y, None).value
    y[0, 5] = torch.nan
    value = mx(element, rule).project(y, None).value
    assert value[0, :32].isnan().all()
    assert torch.equal(value[0, 32:], clean[0, 32:])
    assert torch.equal(value[1], clean[1])


def test_rules_and_four_thirds_saturate_as_they_say() -> None:
    """Largest value 7: floor has 6, rceil 8 (twice 4), four thirds of one has 6·4/3."""
    y = torch.zeros(1, 32)
    y[0, 0] = 7.0
    top = [float(mx("e2m1", rule).project(y, None).value[0, 0]) for rule in RULES]
    assert top == [6.0, 8.0, 8.0, 8.0]
    assert float(mx("e2m1", four_thirds=True).project(y, None).value[0, 0]) == pytest.approx(8)


def test_statistics_count_under_sparsity() -> None:
    y, support = normal(2, 64), normal(2, 64).abs() < 0.5
    for make in (mx("e2m1", statistics="dense"), nv(statistics="dense")):
        kept = (mx("e2m1") if isinstance(make, MicroscalingQuantizer) else nv()).project(y, support)
        assert not torch.equal(make.project(y, support).value, kept.value)


@pytest.mark.parametrize(
    ("make", "changed", "reason"),
    [
        (nv, {"scale": "rms"}, "two_level quantizer scale: got 'rms', allowed is 'absmax'"),
        (nv, {"mantissa": 2, "four_over_six": True}, "four_over_six: got true for e1m2"),
        (nv, {"group_size": None}, "group_size: got null"),
        (nv, {"statistics": "all"}, "statistics: got 'all'"),
    ],
)
def test_refusals(make: Any, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make(**changed)
    with pytest.raises(UsageError, match="scale: got 'rms'"):
        mx("e2m1", scale="rms")
    with pytest.raises(UsageError, match="scale_rule: got 'up'"):
        mx("e2m1", "up")
    with pytest.raises(UsageError, match="four_thirds: got true under scale_rule 'even'"):
        mx("e2m1", "even", four_thirds=True)
    with pytest.raises(UsageError, match="got in_features 48, allowed are multiples of 32"):
        mx("e2m1").bind(48)
