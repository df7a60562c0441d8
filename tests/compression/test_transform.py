"""Laws of the changes of basis."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import hadamard

from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.compression.transform.identity import Identity
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform


@pytest.mark.parametrize("block", [1, 2, 8, 128])
def test_is_the_orthonormal_sylvester_matrix(block: int) -> None:
    matrix = Hadamard(block=block, fold=False).encode(torch.eye(block))
    expected = torch.from_numpy(hadamard(block)).float() / block**0.5
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(block), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fold", [False, True])
def test_inverse_undoes_encode_and_decode_does_unless_folded(fold: bool) -> None:
    x, transform = normal(3, 5, 96), Hadamard(block=32, fold=fold)
    y = transform.encode(x)
    assert y.shape == x.shape
    torch.testing.assert_close(transform.inverse(y), x, rtol=0, atol=2e-6)
    torch.testing.assert_close(transform.decode(y), y if fold else x, rtol=0, atol=2e-6)
    assert transform.folded is fold


def test_works_within_blocks_only() -> None:
    x = torch.zeros(1, 64)
    x[0, 40] = 1.0
    assert Hadamard(block=32, fold=False).encode(x)[0, :32].abs().sum() == 0


@pytest.mark.parametrize(
    ("in_features", "block"), [(640, 128), (1792, 128), (96, 32), (48, 16), (128, 128), (7, 1)]
)
def test_auto_is_the_largest_power_of_two_up_to_128_that_fits(in_features: int, block: int) -> None:
    free = Hadamard(block="auto", fold=True)
    bound = free.bind(in_features)
    assert (free.block, bound.block, bound.folded) == (None, block, True)
    x = normal(2, in_features)
    assert torch.equal(free.encode(x), bound.encode(x))


def test_folding_both_operands_leaves_the_product() -> None:
    x, w = normal(9, 256), normal(11, 256, seed=1)
    h = Hadamard(block="auto", fold=True)
    torch.testing.assert_close(h.encode(x) @ h.encode(w).T, x @ w.T, rtol=0, atol=1e-4)

    def product(fold: bool) -> torch.Tensor:
        c = compressor(transform=Hadamard(block="auto", fold=fold), quantizer=uniform(4))
        out: torch.Tensor = c(x) @ c(w).T
        return out

    scale = product(fold=False).abs().max()
    torch.testing.assert_close(
        product(fold=True) / scale, product(fold=False) / scale, rtol=0, atol=1e-5
    )


def test_rotates_an_fp32_weight_in_fp32_under_autocast() -> None:
    w, h = normal(8, 128), Hadamard(block=128, fold=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(h.encode(w), h.encode(w.clone()))
        inside = h.encode(w)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, h.encode(w))


def test_trains_after_a_first_use_in_inference_mode() -> None:
    h = Hadamard(block=2, fold=False)
    x = normal(2, 6).to(torch.float64)  # a key of the cache that no other test makes
    with torch.inference_mode():
        h.encode(x)
    x.requires_grad_()
    h.encode(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None


def test_identity_is_the_same_tensor() -> None:
    x = normal(2, 3)
    t = Identity().bind(3)
    assert t.encode(x) is x
    assert t.decode(x) is x
    assert t.inverse(x) is x
    assert t.is_identity
    assert t.is_orthonormal
    assert t.block == 1


@pytest.mark.parametrize("block", [0, 3, -4, 96, 2.0, True, "full"])
def test_refuses_a_block_that_is_no_power_of_two(block: object) -> None:
    with pytest.raises(UsageError, match=r"Hadamard block: got .*power of two.*'auto'"):
        Hadamard(block=block, fold=False)  # type: ignore[arg-type]


def test_refuses_a_block_that_does_not_divide_the_width() -> None:
    with pytest.raises(UsageError, match=r"block 64: got in_features 96, allowed are multiples"):
        Hadamard(block=64, fold=False).bind(96)
    with pytest.raises(UsageError, match=r"block 'auto' or a power of two that divides 96"):
        Hadamard(block=64, fold=False).encode(normal(1, 96))
