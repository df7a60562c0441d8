"""The Gaussian mean squared error of a representation."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import torch

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gaussian import Array, Spread, density
from unified_laws.errors import UsageError

TAIL = 12.0  # P(|x| > 12) = 3.6e-33 for N(0,1): beyond float64
PIECE = 0.5  # widest piece of the integral; 20 nodes integrate exp(-x²/2)·polynomial exactly there
NODES = 20


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and where it comes from.

    Attributes:
        value: the estimate.
        stderr: one standard error; 0 unless the method is "monte carlo".
        method: "exact", "quadrature" (relative error below 1e-9) or "monte carlo".
    """

    value: float
    stderr: float
    method: Literal["exact", "quadrature", "monte carlo"]


def gmse(
    compressor: Compressor, *, samples: int, in_features: int, seed: int, block: int
) -> Estimate:
    """GMSE(R) = E‖x - R(x)‖² / E‖x‖² for x ~ N(0,1) (arXiv:2506.01863).

    Where the chance of being kept and the projection are known functions of one value, the integral
    ∫ ((1-π(x))·x² + π(x)·(x-q(x))²) φ(x) dx is evaluated, in the limit of large tensors and wide
    rows; an orthonormal transform does not change it, since it maps N(0,1) to N(0,1). Otherwise it
    is estimated on random rows.

    Args:
        compressor: the representation R of one operand; the gradient stages play no part.
        samples: values drawn in a Monte-Carlo estimate, rounded up to whole rows.
        in_features: values of a row, which share a scale in "row" scope.
        seed: of the generator of the values.
        block: values held in memory at once, at least one row; also the tensor of "tensor" scopes.

    Returns:
        The estimate, with its standard error over blocks.

    Raises:
        UsageError: a size that is not positive, fewer than two blocks, or a stage that cannot work
            at `in_features`.
    """
    for name, size in (("samples", samples), ("in_features", in_features), ("block", block)):
        if size < 1:
            raise UsageError(
                f"gmse {name}: got {size}, allowed are positive whole numbers; take 1048576 "
                "samples, 1024 in_features and blocks of 131072"
            )
    compressor = compressor.bind(in_features)
    if compressor.is_identity:
        return Estimate(0.0, 0.0, "exact")
    value = _integral(compressor)
    if value is not None:
        return Estimate(value, 0.0, "quadrature")
    return monte_carlo(compressor, samples=samples, in_features=in_features, seed=seed, block=block)


def _integral(compressor: Compressor) -> float | None:
    """The limit for large tensors; None where it has no closed form."""
    sparsifier, quantizer = compressor.sparsifier, compressor.quantizer
    thresholds = sparsifier.breakpoints
    nodes, weights = _rule(tuple(sign * t for t in thresholds for sign in (-1.0, 1.0)))
    keep = sparsifier.keep_probability(np.abs(nodes))
    if keep is None or not compressor.transform.is_orthonormal:
        return None
    kept_mass = float(np.sum(weights * keep))
    kept_square = float(np.sum(weights * keep * nodes**2))
    spread = Spread(dense=1.0, masked=sqrt(kept_square), kept=sqrt(kept_square / kept_mass))
    edges = quantizer.gaussian_edges(spread)
    if edges is None:
        return None
    nodes, weights = _rule((*edges, *(sign * t for t in thresholds for sign in (-1.0, 1.0))))
    keep = sparsifier.keep_probability(np.abs(nodes))
    values = quantizer.gaussian_values(nodes, spread)
    if keep is None or values is None:
        return None
    error = (1.0 - keep) * nodes**2 + keep * (nodes - values) ** 2
    return float(np.sum(weights * error))


def _rule(breakpoints: tuple[float, ...]) -> tuple[Array, Array]:
    """Nodes and weights (density included) of Gauss-Legendre between the breakpoints."""
    grid = np.arange(-TAIL, TAIL + PIECE / 2, PIECE)
    inner = np.asarray([b for b in breakpoints if abs(b) < TAIL], dtype=np.float64)
    cuts = np.unique(np.concatenate([grid, inner]))
    unit, unit_weights = np.polynomial.legendre.leggauss(NODES)
    middle, half = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    nodes = (middle[:, None] + half[:, None] * unit).ravel()
    weights = (half[:, None] * unit_weights).ravel()
    return nodes, np.asarray(weights * density(nodes), dtype=np.float64)


def monte_carlo(
    compressor: Compressor, *, samples: int, in_features: int, seed: int, block: int
) -> Estimate:
    """`gmse` on random rows, whatever the compressor; the arguments are those of `gmse`."""
    compressor = compressor.bind(in_features)
    rows = max(1, block // in_features)
    blocks = -(-samples // (rows * in_features))
    if blocks < 2:
        raise UsageError(
            f"gmse samples: got {samples} in {blocks} block of {rows * in_features}, allowed are "
            "at least two blocks, for the standard error; raise samples or lower block"
        )
    generator = torch.Generator().manual_seed(seed)
    errors, powers = np.empty(blocks), np.empty(blocks)
    for i in range(blocks):
        x = torch.randn(rows, in_features, generator=generator)
        errors[i] = (x - compressor.reconstruct(x)).double().square().sum().item()
        powers[i] = x.double().square().sum().item()
    value = errors.sum() / powers.sum()
    residual = errors - value * powers  # linearised ratio
    stderr = float(np.std(residual, ddof=1)) * sqrt(blocks) / float(powers.sum())
    return Estimate(float(value), stderr, "monte carlo")
