"""Algorithm 3 of arXiv:2506.01863 in numpy: what the theory is about, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unified_laws.laws.loss_law import Floats


@dataclass
class AmsgradReference:
    """AMSGrad without bias correction, eps inside the root, moments from zero.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g²; v~ = max(v, v~);
    theta = theta - lr m / sqrt(v~ + eps).

    Attributes:
        lr: step size eta.
        beta1: decay of m.
        beta2: decay of v.
        eps: added to v~.
        first: m, None before the first step.
        second: v.
        largest: v~.
    """

    lr: float
    beta1: float
    beta2: float
    eps: float
    first: Floats | None = field(default=None)
    second: Floats | None = field(default=None)
    largest: Floats | None = field(default=None)

    def step(self, theta: Floats, gradient: Floats) -> Floats:
        """The next theta; the moments move along."""
        zero = np.zeros_like(theta)
        first = zero if self.first is None else self.first
        second = zero if self.second is None else self.second
        largest = zero if self.largest is None else self.largest
        self.first = self.beta1 * first + (1.0 - self.beta1) * gradient
        self.second = self.beta2 * second + (1.0 - self.beta2) * gradient**2
        self.largest = np.maximum(self.second, largest)
        return theta - self.lr * self.first / np.sqrt(self.largest + self.eps)
