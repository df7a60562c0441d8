"""Forms of capacity over Gaussian error: arXiv:2506.01863, eq. 3 and Appendix C."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import Floats


class CurveForm(ABC):
    """rho as a function of the error of one operand, with a few positive parameters.

    Attributes:
        name: the word of the command line.
        formula: for people.
        source: where it is from.
        parameters: names, k of them.
        bounds: lowest and highest value of each.
        starts: values of each from which a fit begins (every combination).
        offset: the fit moves log(value + offset).
        defaults: parameters that are held unless they are freed, by value.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    bounds: ClassVar[tuple[tuple[float, float], ...]]
    starts: ClassVar[tuple[tuple[float, ...], ...]]
    offset: ClassVar[tuple[float, ...]]
    defaults: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def value(self, parameters: Floats, error: Floats) -> Floats:
        """Capacity at errors in (0, 1), the shape of ``error``."""

    @abstractmethod
    def gradient(self, parameters: Floats, error: Floats) -> Floats:
        """Derivatives of the capacity by the parameters, (..., k)."""

    def to_internal(self, parameters: Floats) -> Floats:
        """log(value + offset) of each parameter."""
        shifted = np.asarray(parameters) + np.asarray(self.offset)
        return np.asarray(np.log(shifted), dtype=np.float64)

    def to_natural(self, internal: Floats) -> Floats:
        """Inverse of `to_internal`."""
        return np.asarray(np.exp(internal) - np.asarray(self.offset), dtype=np.float64)

    def internal_gradient(self, parameters: Floats, error: Floats) -> Floats:
        """Derivatives by log(value + offset), (..., k)."""
        scale = np.asarray(parameters) + np.asarray(self.offset)
        return np.asarray(self.gradient(parameters, error) * scale, dtype=np.float64)


@final
class Tanh(CurveForm):
    """``L tanh(F log_{1/4} x)^C``: 0 at x = 1, L at 0; log_{1/4} x are the bits of a Gaussian."""

    name = "tanh"
    formula = "L tanh(F log_1/4 MSE)^C"
    source = "arXiv:2506.01863 eq. 3"
    parameters = ("L", "F", "C")
    bounds = ((0.02, 3.0), (1e-2, 50.0), (2e-2, 50.0))
    # Around the published values: F .25-.52 and C .46-4.1 over kinds of compression.
    starts = ((1.0,), (0.2, 0.41, 0.8), (0.5, 1.4, 4.0))
    offset = (0.0, 0.0, 0.0)
    defaults: ClassVar[Mapping[str, float]] = {"L": 1.0}

    def value(self, parameters: Floats, error: Floats) -> Floats:
        """Capacity at ``error``."""
        L, F, C = parameters
        return np.asarray(L * np.tanh(F * -0.5 * np.log2(error)) ** C, dtype=np.float64)

    def gradient(self, parameters: Floats, error: Floats) -> Floats:
        """Derivatives by L, F, C."""
        L, F, C = parameters
        bits = -0.5 * np.log2(error)
        inner = np.tanh(F * bits)
        power = inner**C
        slope = L * C * inner ** (C - 1.0) * (1.0 - inner**2) * bits
        return np.stack([power, slope, L * power * np.log(inner)], axis=-1)


@final
class Logistic(CurveForm):
    """``1 / (1 + B x^A)``: 1 at x = 0, 1/(1+B) at 1."""

    name = "logistic"
    formula = "1 / (1 + B MSE^A)"
    source = "arXiv:2506.01863 App. C"
    parameters = ("A", "B")
    bounds = ((1e-2, 20.0), (1e-3, 1e4))
    starts = ((0.3, 0.7, 1.5), (1.0, 5.0, 30.0))
    offset = (0.0, 0.0)

    def value(self, parameters: Floats, error: Floats) -> Floats:
        """Capacity at ``error``."""
        A, B = parameters
        return np.asarray(1.0 / (1.0 + B * error**A), dtype=np.float64)

    def gradient(self, parameters: Floats, error: Floats) -> Floats:
        """Derivatives by A, B."""
        A, B = parameters
        power = error**A
        square = (1.0 + B * power) ** -2
        return np.stack([-B * power * np.log(error) * square, -power * square], axis=-1)


@final
class BoundedLogistic(CurveForm):
    """``(1 - x^A) / (1 + B x^A)``, the paper's logistic(1,0): 1 at x = 0, 0 at 1."""

    name = "logistic10"
    formula = "(1 - MSE^A) / (1 + B MSE^A)"
    source = "arXiv:2506.01863 App. C, logistic(1,0)"
    parameters = ("A", "B")
    bounds = ((1e-2, 20.0), (-0.999, 1e4))
    starts = ((0.3, 0.7, 1.5), (0.0, 3.0, 30.0))
    offset = (0.0, 1.0)

    def value(self, parameters: Floats, error: Floats) -> Floats:
        """Capacity at ``error``."""
        A, B = parameters
        power = error**A
        return np.asarray((1.0 - power) / (1.0 + B * power), dtype=np.float64)

    def gradient(self, parameters: Floats, error: Floats) -> Floats:
        """Derivatives by A, B."""
        A, B = parameters
        power = error**A
        square = (1.0 + B * power) ** -2
        by_A = -(1.0 + B) * square * power * np.log(error)
        return np.stack([by_A, -(1.0 - power) * power * square], axis=-1)


FORMS: Mapping[str, CurveForm] = {
    form.name: form for form in (Tanh(), Logistic(), BoundedLogistic())
}
# Every format has a rho of its own; Table 1 calls it "decoupled" (arXiv:2502.16440).
FREE = "free"


def curve_form(name: str) -> CurveForm:
    """A form by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMS:
        raise UsageError(
            f"form is {name!r}; allowed are {', '.join(FORMS)}, and for the joint law {FREE} "
            "(a rho for every format)"
        )
    return FORMS[name]
