"""AMSGrad as the theory of compressed training has it: arXiv:2506.01863, Algorithm 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor

from unified_laws.errors import UsageError


@final
class AMSGrad(torch.optim.Optimizer):
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g²; v~ = max(v, v~); theta -= lr m / sqrt(v~ + eps).

    All moments start from zero. The gradient is that of the compressed weight, straight through:
    take a format whose estimator is ``straight_through``.

    Args:
        params: parameters, or groups of them.
        lr: step size.
        betas: decays of m and v, in [0, 1).
        eps: added to v~ **inside** the root, so 1e-8 here acts like 1e-4 in Adam.
        weight_decay: decoupled decay, theta -= lr weight_decay theta; the paper has none.

    Raises:
        UsageError: an argument outside its range.

    Note:
        `torch.optim.Adam(amsgrad=True)` corrects the bias of m and of v~ and adds eps outside the
        root; nothing of this is in Algorithm 3, so early steps are (1-b1)/sqrt(1-b2) of Adam's.
        The state is float32 for parameters of fewer bits.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        first, second = betas
        for name, value, allowed, good in (
            ("lr", lr, "at least 0", lr >= 0),
            ("betas", betas, "two numbers in [0, 1)", 0 <= first < 1 and 0 <= second < 1),
            ("eps", eps, "above 0", eps > 0),
            ("weight_decay", weight_decay, "at least 0", weight_decay >= 0),
        ):
            if not good:
                raise UsageError(f"amsgrad {name}: got {value}, allowed is {allowed}")
        defaults = {"lr": lr, "betas": (first, second), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient.

        Raises:
            UsageError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        if parameter.grad is None or parameter.grad.is_sparse:
            raise UsageError("amsgrad: got a sparse gradient, allowed are dense ones")
        state = self.state[parameter]
        kind = torch.promote_types(parameter.dtype, torch.float32)
        if not state:
            for name in ("first", "second", "largest"):
                state[name] = torch.zeros_like(
                    parameter, dtype=kind, memory_format=torch.preserve_format
                )
        gradient = parameter.grad.to(kind)
        beta1, beta2 = group["betas"]
        state["first"].lerp_(gradient, 1.0 - beta1)
        state["second"].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        torch.maximum(state["largest"], state["second"], out=state["largest"])
        if group["weight_decay"]:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        step = state["first"] / (state["largest"] + group["eps"]).sqrt()
        parameter.sub_((group["lr"] * step).to(parameter.dtype))
