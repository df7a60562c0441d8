"""The k-th smallest value is torch's own, to the bit."""

from __future__ import annotations

import pytest
import torch

from unified_laws.compression.kth_value import kth_value

from .builders import normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (1000,), (6, 33), (2, 3, 64)])
def test_is_kthvalue(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    plain = normal(*shape).to(dtype)
    tied = (plain * 2).round() / 2
    holed = plain.clone()
    holed[..., 0] = torch.nan
    for x in (plain, tied, holed, plain.abs(), plain.expand(2, *shape)):
        for k in {1, x.shape[-1] // 2 + 1, x.shape[-1]}:
            expected = x.float().kthvalue(k, dim=-1, keepdim=True).values.to(dtype)
            found = kth_value(x, k)
            assert found.dtype == dtype
            assert found.shape == expected.shape
            assert torch.equal(found.nan_to_num(9.0), expected.nan_to_num(9.0))


def test_is_an_operator_of_a_traced_graph() -> None:
    x = normal(4, 33)
    torch.compiler.reset()
    traced = torch.compile(lambda x: kth_value(x.abs(), 7), backend="aot_eager", fullgraph=True)
    assert torch.equal(traced(x), kth_value(x.abs(), 7))
    torch.compiler.reset()
