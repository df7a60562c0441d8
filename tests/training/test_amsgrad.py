"""Algorithm 3 of arXiv:2506.01863 in torch against the reference, and against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.test_run import trained
from unified_laws.cli.entry import compose
from unified_laws.cli.instantiate import instantiate
from unified_laws.errors import UsageError
from unified_laws.laws.amsgrad_reference import AmsgradReference
from unified_laws.training.amsgrad import AMSGrad


def gradients(steps: int, size: int = 7) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    scale = np.exp(generator.standard_normal(size))
    return [scale * generator.standard_normal(size) / (1 + t % 5) for t in range(steps)]


def test_every_step_is_that_of_the_reference() -> None:
    theta = np.linspace(-1, 1, 7)
    parameter = torch.nn.Parameter(torch.tensor(theta))  # float64
    ours = AMSGrad([parameter], lr=0.03, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.0)
    reference = AmsgradReference(lr=0.03, beta1=0.8, beta2=0.9, eps=1e-3)
    for gradient in gradients(30):
        parameter.grad = torch.tensor(gradient)
        ours.step()
        theta = reference.step(theta, gradient)
        np.testing.assert_allclose(parameter.detach().numpy(), theta, rtol=1e-12, atol=1e-14)


def test_torch_amsgrad_is_the_same_where_its_corrections_are_nothing() -> None:
    """betas = 0: no moments, no bias; eps negligible: in or out of the root is the same."""
    first, second = (torch.nn.Parameter(torch.ones(7, dtype=torch.float64)) for _ in range(2))
    ours = AMSGrad([first], lr=0.03, betas=(0.0, 0.0), eps=1e-30, weight_decay=0.1)
    theirs = torch.optim.AdamW(
        [second], lr=0.03, betas=(0.0, 0.0), eps=1e-30, weight_decay=0.1, amsgrad=True
    )
    for gradient in gradients(20):
        for parameter, optimizer in ((first, ours), (second, theirs)):
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)


def test_the_first_step_has_no_bias_correction_and_eps_under_the_root() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.tensor([2.0], dtype=torch.float64)
    AMSGrad([parameter], lr=1.0, betas=(0.9, 0.99), eps=0.05, weight_decay=0.0).step()
    assert parameter.item() == pytest.approx(-0.1 * 2.0 / (0.01 * 4.0 + 0.05) ** 0.5)


def test_state_is_float32_and_survives_a_checkpoint() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = AMSGrad([parameter], lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    assert all(value.dtype == torch.float32 for value in optimizer.state[parameter].values())
    twin = torch.nn.Parameter(parameter.detach().clone().float())
    other = AMSGrad([twin], lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(other.state[twin]["second"], optimizer.state[parameter]["second"])


def test_bad_arguments_and_sparse_gradients_are_refused() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    good = {"lr": 0.1, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
    for name, value in (("lr", -1.0), ("betas", (1.0, 0.9)), ("eps", 0.0), ("weight_decay", -1.0)):
        with pytest.raises(UsageError, match=f"amsgrad {name}"):
            AMSGrad([parameter], **(good | {name: value}))  # type: ignore[arg-type]
    parameter.grad = torch.ones(3).to_sparse()
    with pytest.raises(UsageError, match="sparse gradient"):
        AMSGrad([parameter], **good).step()  # type: ignore[arg-type]


def test_the_option_trains(tiny: list[str]) -> None:
    node = compose("train", ["optimizer=amsgrad", "model=micro_10k"])["optimizer"]
    made = instantiate(node)([torch.nn.Parameter(torch.ones(2))])
    assert isinstance(made, AMSGrad)
    amsgrad, _ = trained([*tiny, "num_tokens=2560", "optimizer=amsgrad"])
    assert amsgrad.val_loss is not None
    assert amsgrad.val_loss < 6.2  # log 512 = 6.24 at the start
