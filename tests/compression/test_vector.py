"""Laws of vector quantization: the shipped codebooks, the projection and its gradient."""

from __future__ import annotations

from importlib.resources import files
from itertools import product
from math import prod
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from unified_laws.cli.build import load_format
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format
from unified_laws.compression.gmse import Estimate, gmse
from unified_laws.compression.gradient.clip import Clip
from unified_laws.compression.gradient.sphere import Sphere
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.grids import nearest, train
from unified_laws.compression.grids.codebook import codebook, manifest
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.quantizer.vector import VectorQuantizer
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.storage import bits_per_weight
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform

SIZES = [(line["dimension"], line["codes"]) for line in manifest().values()]
# Error per dimension of the grids stored in transformers' integrations/higgs.py (Monte Carlo, 1e7).
HIGGS = {
    (2, 256): 0.007746,
    (2, 64): 0.029637,
    (2, 16): 0.107534,
    (1, 16): 0.009516,
    (1, 8): 0.034555,
    (1, 4): 0.117560,
}
# Own Lloyd iterations of the reference notes, upper bounds.
LLOYD = {(2, 4): 0.3630, (2, 8): 0.2012, (4, 8): 0.4636, (4, 16): 0.3417, (4, 64): 0.1842} | {
    (4, 256): 0.0966
}


def vector(
    dimension: int = 2,
    codes: int = 16,
    scope: Literal["row", "tensor"] = "row",
    group_size: int | None = None,
    statistics: Literal["dense", "masked", "kept"] = "kept",
) -> VectorQuantizer:
    return VectorQuantizer(dimension, codes, scope, group_size, statistics)


def measure(c: Compressor, in_features: int = 1024) -> Estimate:
    return gmse(c, samples=2**20, in_features=in_features, seed=0, block=2**17)


def error_on(codes: Tensor, samples: int = 2**18) -> tuple[float, float]:
    x = normal(samples, codes.shape[1], seed=77)
    error = (x - codes[nearest.nearest_code(x, codes)]).square().mean(1).double()
    return float(error.mean()), float(error.std()) / samples**0.5


def test_the_program_and_the_files_name_the_same_sizes() -> None:
    assert sorted(SIZES) == sorted(train.SIZES)
    folder = files("unified_laws.compression.grids")
    stored = [p for p in folder.iterdir() if p.name.endswith((".npy", ".json"))]
    assert {p.name for p in stored} == {"manifest.json", *(f"vq{p}x{n}.npy" for p, n in SIZES)}
    assert sum(len(p.read_bytes()) for p in stored) < 200_000


@pytest.mark.parametrize("size", sorted(HIGGS), ids=str)
def test_as_good_as_the_grids_of_higgs(size: tuple[int, int]) -> None:
    assert codebook(*size).mse <= 1.02 * HIGGS[size]


@pytest.mark.parametrize("size", sorted(HIGGS), ids=str)
def test_as_good_as_the_grids_of_higgs_on_the_same_vectors(size: tuple[int, int]) -> None:
    higgs = pytest.importorskip("transformers.integrations.higgs")
    theirs = higgs.get_higgs_grid(*size).float().reshape(size[1], size[0])
    assert error_on(codebook(*size).codes)[0] <= 1.02 * error_on(theirs)[0]


@pytest.mark.parametrize("size", sorted(LLOYD), ids=str)
def test_as_good_as_the_bounds_of_the_notes(size: tuple[int, int]) -> None:
    assert codebook(*size).mse <= LLOYD[size] + 1.5e-4


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_manifest_is_measured(size: tuple[int, int]) -> None:
    book = codebook(*size)
    assert book.codes.shape == (size[1], size[0])
    found, stderr = error_on(book.codes)
    assert found == pytest.approx(book.mse, abs=4 * (stderr**2 + book.stderr**2) ** 0.5)
    assert book.mse == min(book.mse_of_seeds)
    assert max(book.mse_of_seeds) < 1.03 * book.mse
    assert book.stderr < 0.003 * book.mse
    bits = torch.tensor(float(size[1])).log2() / size[0]
    assert book.mse > float(4**-bits)  # no code beats the rate-distortion bound


def test_more_codes_and_more_dimensions_are_better_at_the_same_rate() -> None:
    for small, large in (((1, 4), (2, 16)), ((2, 16), (4, 256)), ((1, 16), (2, 256))):
        rate = large[1] ** (1 / large[0]) / small[1] ** (1 / small[0])
        assert rate == pytest.approx(1)
        assert codebook(*large).mse < codebook(*small).mse


def test_scalar_grids_are_lloyd_max() -> None:
    for codes, error in ((4, 0.117482), (8, 0.0345478), (16, 0.00950101)):
        assert codebook(1, codes).mse == pytest.approx(error, rel=1e-5)
        assert measure(compressor(quantizer=vector(1, codes))).value == pytest.approx(
            error, rel=1e-5
        )
    torch.testing.assert_close(train.scalar_grid(4)[:, 0], codebook(1, 4).codes[:, 0])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gmse_is_that_of_the_manifest(size: tuple[int, int]) -> None:
    """Up to the RMS of 1024 values, which is not exactly 1."""
    book = codebook(*size)
    estimate = measure(compressor(quantizer=vector(*size)))
    assert estimate.method == ("quadrature" if size[0] == 1 else "monte carlo")
    assert estimate.stderr <= 0.003 * estimate.value
    tolerance = 4 * (estimate.stderr**2 + book.stderr**2) ** 0.5 + 0.002 * book.mse
    assert estimate.value == pytest.approx(book.mse, abs=tolerance)


def test_training_finds_a_grid_of_this_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BATCH", 2**12), ("STEPS", 60), ("POLISH", 2**14), ("POLISH_STEPS", 10)):
        monkeypatch.setattr(train, name, value)
    grid = train.vector_grid(2, 4, seed=0)
    assert torch.equal(grid, train.vector_grid(2, 4, seed=0))
    assert error_on(grid)[0] == pytest.approx(codebook(2, 4).mse, rel=0.02)


@pytest.mark.parametrize("size", [(2, 256), (4, 64), (8, 256), (1, 8)], ids=str)
def test_takes_the_nearest_code(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    codes, x = codebook(*size).codes, normal(999, size[0])
    whole = nearest.nearest_code(x, codes)
    distance = torch.cdist(x.double(), codes.double())
    reached = distance.gather(1, whole[:, None])[:, 0]
    torch.testing.assert_close(reached, distance.amin(1), rtol=0, atol=1e-6)
    monkeypatch.setattr(nearest, "SCORES", 7 * size[1])
    assert torch.equal(nearest.nearest_code(x, codes), whole)


def test_holds_at_most_64_mib_of_scores() -> None:
    assert nearest.SCORES * 4 <= 64 * 2**20


MIXES: list[tuple[VectorQuantizer, Sparsifier]] = [
    (quantizer, sparsifier)
    for quantizer, sparsifier in product(
        (
            vector(2, 256),
            vector(4, 16, group_size=16),
            vector(8, 256, scope="tensor", statistics="masked"),
            vector(1, 8, statistics="dense"),
        ),
        (Dense(), Magnitude(0.5, "tensor"), SemiStructured(2, 4)),
    )
    # without pruning there is one statistic, and others are refused
    if quantizer.scaling.statistics == "kept" or not sparsifier.is_identity
]


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_is_homogeneous_finite_exact_off_the_support_and_on_the_grid(
    mix: tuple[VectorQuantizer, Sparsifier],
) -> None:
    quantizer, sparsifier = mix
    c = compressor(Hadamard("auto", fold=False), sparsifier, None, quantizer, Sphere("auto"))
    c = c.bind(32)
    x = normal(2, 6, 32)
    x[0, 2] = 0
    for factor in (2.0, 2.0**-20, 2.0**20):
        assert torch.equal(c(factor * x), factor * c(x))
    if quantizer.scaling.scope == "row":  # no code is zero: the scale has to be
        assert (c(x)[0, 2] == 0).all()
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.detach().clone().to(dtype).requires_grad_()
        out = c(leaf)
        out.backward(torch.ones_like(out))
        assert leaf.grad is not None
        assert out.isfinite().all()
        assert leaf.grad.isfinite().all()
        assert out.dtype == leaf.grad.dtype == dtype
    _, value, support = c.encoded(x)
    if support is not None:
        assert (value[~support] == 0).all()
    elif quantizer.scaling.group_size is None and quantizer.scaling.scope == "row":
        for row in value.flatten(0, 1):
            distinct = row.view(-1, quantizer.dimension).unique(dim=0)
            assert len(distinct) <= quantizer.codes


def test_a_group_is_the_scale_of_higgs() -> None:
    """‖w‖/√b of each Hadamard block of b values."""
    w = normal(3, 256) * torch.linspace(0.1, 4, 256)
    quantizer = vector(2, 64, group_size=128)
    found = quantizer.project(w, None).value
    for row, start in product(range(3), (0, 128)):
        part = w[row, start : start + 128]
        scale = part.norm() / 128**0.5
        z = (part / scale).view(-1, 2)
        codes = codebook(2, 64).codes
        expected = codes[torch.cdist(z, codes).argmin(1)].flatten() * scale
        torch.testing.assert_close(found[row, start : start + 128], expected)
    assert bits_per_weight(compressor(quantizer=quantizer), 256) == 3 + 16 / 128


@pytest.mark.parametrize("fold", [False, True])
def test_forward_and_backward_are_algorithms_1_and_2(fold: bool) -> None:
    """y = x·ŵᵀ and dw = IHT(M ⊙ dŵ_h); folded: the printed algorithm, where x is not rotated."""
    linear, x, radius = nn.Linear(64, 16, bias=False), normal(5, 64), 1.5
    h = Hadamard(32, fold=fold)
    format = Format("vq", compressor(h, quantizer=vector(2, 64), gradient=Sphere(radius)), None)
    layer = CompressedLinear.from_linear(linear, format)
    x.requires_grad_()
    y = layer(x)
    dy = normal(5, 16, seed=1)
    y.backward(dy)
    with torch.no_grad():
        w_h = h.encode(linear.weight)
        quantized = vector(2, 64).project(w_h, None).value
        used = quantized if fold else h.inverse(quantized)
        torch.testing.assert_close(y, x @ used.T)
        torch.testing.assert_close(x.grad, dy @ used)
        dw = dy.T @ x
        dw_h = dw if fold else h.encode(dw)
        z = (w_h / w_h.square().mean(1, keepdim=True).sqrt()).view(-1, 2)
        mask = (z.square().sum(1) <= radius**2)[:, None].expand(-1, 2).reshape(16, 64)
        assert 0.5 < mask.float().mean() < 0.9
        torch.testing.assert_close(linear.weight.grad, h.inverse(mask * dw_h))


@pytest.mark.parametrize("radius", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_the_sphere_holds_its_share_of_normals(dimension: int, radius: float) -> None:
    """P(χ²_p <= R²)."""
    y = normal(256, 1024)
    mask = Sphere(radius).flow(y, vector(dimension, 16).project(y, None))
    assert mask is not None
    half = torch.tensor([dimension / 2, radius**2 / 2], dtype=torch.float64)
    share = float(torch.special.gammainc(half[0], half[1]))
    assert float(mask.double().mean()) == pytest.approx(share, abs=5e-3)


def test_auto_reaches_beyond_every_code() -> None:
    for size in SIZES:
        quantizer, book = vector(*size), codebook(*size)
        longest = float(book.codes.norm(dim=1).max())
        assert quantizer.radius == pytest.approx(longest + (size[0] * book.mse) ** 0.5)
        y = normal(32, 1024)
        projection = quantizer.project(y, None)
        auto = Sphere("auto").flow(y, projection)
        fixed = Sphere(quantizer.radius).flow(y, projection)
        assert auto is not None
        assert fixed is not None
        assert torch.equal(auto, fixed)


def test_saves_a_byte_per_value() -> None:
    saved: list[Tensor] = []
    x = normal(4, 32).requires_grad_()
    c = compressor(quantizer=vector(), gradient=Sphere("auto"))

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        c(x)
    assert [t.dtype for t in saved] == [torch.bool]
    assert c.state_dict() == {}


# torch 2.13 warns of its own use of autograd.Function while tracing one, and of script_method.
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "compiled_by", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]
)
def test_a_compiled_graph_is_whole(compiled_by: str) -> None:
    linear, x = nn.Linear(64, 16), normal(8, 64)
    format = Format(
        "vq", compressor(Hadamard("auto", fold=False), None, None, vector(), Sphere("auto")), None
    )
    layer = CompressedLinear.from_linear(linear, format)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend=compiled_by, fullgraph=True)
    wanted = torch.autograd.grad(layer(x).square().sum(), linear.weight)[0]
    found = torch.autograd.grad(compiled(x).square().sum(), linear.weight)[0]
    if compiled_by == "aot_eager":
        assert torch.equal(compiled(x), layer(x))
        assert torch.equal(found, wanted)
    else:
        torch.testing.assert_close(compiled(x), layer(x))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    meta = layer.to("meta")
    assert meta(x.to("meta")).shape == (8, 16)


@pytest.mark.parametrize("name", ["vq2x256", "vq4x16", "vq8x256_sparse50", "vq2x16_sparse2of4"])
def test_names(name: str) -> None:
    format = load_format(name)
    assert format.name == name
    assert format.weight is not None
    quantizer = format.weight.quantizer
    assert isinstance(quantizer, VectorQuantizer)
    assert isinstance(format.weight.gradient, Sphere)
    assert name.startswith(f"vq{quantizer.dimension}x{quantizer.codes}")


def test_storage_is_that_of_an_index() -> None:
    for p, n in SIZES:
        c = compressor(quantizer=vector(p, n, scope="tensor"))
        assert prod([2.0 ** bits_per_weight(c)] * p) == pytest.approx(n)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"vector grid 3x16: got a size .* allowed are 1x4, "):
        vector(3, 16)
    with pytest.raises(UsageError, match=r"dimension 8: got in_features 12, allowed are multiples"):
        vector(8, 256).bind(12)
    with pytest.raises(UsageError, match=r"group_size: got 6 in dimension 4, allowed are multip"):
        vector(4, 16, group_size=6)
    with pytest.raises(UsageError, match=r"vector quantizer group_size 16: got in_features 24"):
        vector(4, 16, group_size=16).bind(24)
    with pytest.raises(UsageError, match=r"vector quantizer scope: got 'block'"):
        vector(scope="block")  # type: ignore[arg-type]
    for radius in (0.0, -1.0, float("nan"), "big"):
        with pytest.raises(UsageError, match=r"sphere radius: got .*, allowed are positive"):
            Sphere(radius)  # type: ignore[arg-type]


def test_refuses_a_gradient_of_the_other_kind() -> None:
    for gradient in (Trust(), Clip(1.3)):
        with pytest.raises(UsageError, match=r"gradient \w+: got the quantizer VectorQ.* sphere"):
            compressor(quantizer=vector(), gradient=gradient)
    with pytest.raises(UsageError, match=r"sphere gradient: got a UniformQuantizer, allowed is"):
        compressor(quantizer=uniform(4), gradient=Sphere("auto"))
    with pytest.raises(UsageError, match=r"sphere gradient: got a IdentityQuantizer, allowed is"):
        compressor(gradient=Sphere("auto"))
