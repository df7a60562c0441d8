"""Laws of the RMS-banded backward masks (arXiv:2506.01863 App. H.3, methods.md 1.4)."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from unified_laws.cli.build import load_format
from unified_laws.cli.format_names import canonical_name
from unified_laws.cli.paths import config_dir
from unified_laws.compression.backward_mask.area_banded_rms import AreaBandedRmsMask
from unified_laws.compression.backward_mask.banded_rms import BandedRmsMask
from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.backward_mask.rms import RmsMask
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.errors import UsageError

from .builders import compressor, normal

Y = normal(1024, 1024, seed=3)  # 2^20 normals


def passed(mask: BackwardMask, y: Tensor, sparsity: float) -> tuple[Tensor, Tensor]:
    support = Magnitude(sparsity, "tensor").support(y)
    assert support is not None
    found = mask.mask(y, support)
    return torch.ones_like(support) if found is None else found, support


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.45])
def test_gaussian_fractions(sparsity: float, share: float) -> None:
    """1 - 2p, 1 - |2p - s| and 1 - a·s; the quantiles of the sample spread by 5e-4 at 2^20."""
    expected = [
        (RmsMask(share, "tensor"), 1 - 2 * share),
        (BandedRmsMask(share, "tensor"), 1 - abs(2 * share - sparsity)),
        (AreaBandedRmsMask(share, "tensor"), 1 - share * sparsity),
    ]
    for mask, fraction in expected:
        found, _ = passed(mask, Y, sparsity)
        assert found.double().mean().item() == pytest.approx(fraction, abs=1e-3)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_the_ends_of_a_as_in_the_formula_not_the_sentence(sparsity: float) -> None:
    """Erratum: a = 0 is all ones and a = 1 is fw."""
    ones, _ = passed(AreaBandedRmsMask(0.0, "tensor"), Y, sparsity)
    assert ones.all()
    fw, support = passed(AreaBandedRmsMask(1.0, "tensor"), Y, sparsity)
    assert torch.equal(fw, support)
    almost, _ = passed(AreaBandedRmsMask(1e-9, "tensor"), Y, sparsity)
    assert almost.sum() >= Y.numel() - 2


def test_the_worked_example_of_the_paper() -> None:
    """Φ(T_k/RMS) = .8 and a = .5 put T_a at Φ⁻¹(.65)·RMS."""
    y = torch.linspace(0, 3, 3001)
    y = y / y.square().mean().sqrt()
    kept = y >= torch.special.ndtri(torch.tensor(0.8))
    found = AreaBandedRmsMask(0.5, "tensor").mask(y, kept)
    assert found is not None
    blocked = y[~found]
    assert blocked.min().item() == pytest.approx(0.385320466, abs=2e-3)
    assert blocked.max() < y[kept].min()


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_the_ends_of_p(sparsity: float) -> None:
    fw, support = passed(BandedRmsMask(0.0, "tensor"), Y, sparsity)
    assert torch.equal(fw, support)
    half, _ = passed(BandedRmsMask(sparsity / 2, "tensor"), Y, sparsity)
    assert half.double().mean() > 1 - 1e-3  # T_p meets T_k up to the sampling error of both
    beyond, support = passed(BandedRmsMask(sparsity / 2 + 0.05, "tensor"), Y, sparsity)
    assert not beyond[support].all()  # the paper's undesired case
    assert beyond[~support].all()


def test_at_half_the_sparsity_all_ones_where_the_thresholds_meet() -> None:
    y = torch.tensor([0.5, 1.0, -1.0, 1.0, 1.25, -0.25])
    sparsifier, p = Magnitude(1 / 3, "tensor"), 0.3
    mask = BandedRmsMask(p, "tensor")
    mask.quantile = float(1.0 / y.square().mean().sqrt())  # T_p = T_k = 1
    found = mask.mask(y, sparsifier.support(y))
    assert found is not None
    assert found.all()


@pytest.mark.parametrize(
    "mask", [RmsMask(0.2, "tensor"), BandedRmsMask(0.1, "tensor"), AreaBandedRmsMask(0.4, "tensor")]
)
def test_masks_do_not_change_with_the_scale_and_survive_zeros(mask: BackwardMask) -> None:
    y = normal(16, 64)
    one, _ = passed(mask, y, 0.5)
    assert torch.equal(one, passed(mask, 4 * y, 0.5)[0])
    zeros, _ = passed(mask, torch.zeros(4, 8), 0.5)
    assert zeros.shape == (4, 8)
    assert mask.mask(y, None) is None or isinstance(mask, RmsMask)


def test_ties_at_the_threshold_get_their_gradient() -> None:
    y = torch.tensor([[1.0, -1.0, 1.0, 0.5, 0.25, 2.0]])
    for mask in (BandedRmsMask(0.05, "tensor"), AreaBandedRmsMask(0.5, "tensor")):
        found, support = passed(mask, y, 0.5)
        assert found[support].all()


def test_rows_have_their_own_band() -> None:
    y = normal(4, 4096) * torch.tensor([[1.0], [8.0], [64.0], [0.5]])
    support = Magnitude(0.5, "row").support(y)
    found = AreaBandedRmsMask(0.5, "row").mask(y, support)
    assert found is not None
    assert (found.double().mean(1) - 0.75).abs().max() < 0.02


@pytest.mark.parametrize("sparsifier", [Dense(), SemiStructured(2, 4), Magnitude(0.5, "row")])
def test_refuses_a_sparsifier_without_that_threshold(sparsifier: Sparsifier) -> None:
    for mask in (BandedRmsMask(0.1, "tensor"), AreaBandedRmsMask(0.1, "tensor")):
        with pytest.raises(UsageError, match=r"rms backward mask .*as in sparse50_rbbm50"):
            compressor(sparsifier=sparsifier, backward_mask=mask)


def test_refuses_numbers_outside_their_range() -> None:
    for p in (-0.1, 0.5, float("nan")):
        with pytest.raises(UsageError, match=r"p: got .*from 0 to below 0.5"):
            BandedRmsMask(p, "tensor")
        with pytest.raises(UsageError, match=r"p: got .*from 0 to below 0.5"):
            RmsMask(p, "tensor")
    with pytest.raises(UsageError, match=r"a: got 50, allowed are fractions from 0 to 1"):
        AreaBandedRmsMask(50, "tensor")
    with pytest.raises(UsageError, match=r"scope: got 'layer'"):
        RmsMask(0.1, "layer")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "canonical", "kind"),
    [
        ("rbbm50_sparse50", "sparse50_rbbm50", AreaBandedRmsMask),
        ("sparse75_brms10", "sparse75_brms10", BandedRmsMask),
        ("sparse75_rmsmask12.5", "sparse75_rmsmask12.5", RmsMask),
        ("rbbm25_int4_sparse50", "int4_sparse50_rbbm25", AreaBandedRmsMask),
    ],
)
def test_names(name: str, canonical: str, kind: type[BackwardMask]) -> None:
    assert canonical_name(name, config_dir()) == canonical
    weight = load_format(name).weight
    assert weight is not None
    assert isinstance(weight.backward_mask, kind)


def test_a_mask_alone_or_two_are_refused() -> None:
    with pytest.raises(UsageError, match="missing stages"):
        load_format("rbbm50")
    with pytest.raises(UsageError, match=re.escape("two parts set weight.backward_mask")):
        load_format("sparse50_rbbm50_brms10")


def test_the_gradient_is_the_mask() -> None:
    weight = load_format("sparse50_rbbm50").weight
    assert weight is not None
    w = normal(32, 32).requires_grad_()
    weight(w).sum().backward()
    assert w.grad is not None
    _, _, support = weight.encoded(w)
    assert support is not None
    expected = weight.backward_mask.mask(w.detach(), support)
    assert expected is not None
    assert torch.equal(w.grad, expected.float())
