"""The Gaussian mean squared error of a representation."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import torch

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.source import Normal, Source
from unified_laws.errors import UsageError

NODES = 20  # of Gauss-Legendre on each piece of the source
NORMAL = Normal()
MOST_TIMES = 16  # the samples asked for, when their standard error is too large


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
    compressor: Compressor,
    *,
    samples: int,
    in_features: int,
    seed: int,
    block: int,
    source: Source = NORMAL,
    precision: float | None = None,
) -> Estimate:
    """GMSE(R) = E‖x - R(x)‖² / E‖x‖² for x ~ N(0,1) (arXiv:2506.01863), or another source.

    Where the chance of being kept and the projection are known functions of one value, the integral
    ∫ ((1-π(x))·x² + π(x)·(x-q(x))²) φ(x) dx is evaluated, in the limit of large tensors and wide
    rows; an orthonormal transform does not change it, since it maps N(0,1) to N(0,1). Otherwise,
    and for a transform of another source, it is estimated on random rows. The grids stay those for
    N(0,1): a scale follows the RMS, whatever the source (arXiv:2506.01863 App. D.1).

    Args:
        compressor: the representation R of one operand; the gradient stages play no part.
        samples: values drawn in a Monte-Carlo estimate, rounded up to whole rows.
        in_features: values of a row, which share a scale in "row" scope.
        seed: of the generator of the values.
        block: values held in memory at once, at least one row; also the tensor of "tensor" scopes.
        source: distribution of the values, of zero mean and unit variance.
        precision: standard error over value above which up to 16 times the samples are drawn; None
            to draw `samples` whatever comes out.

    Returns:
        The estimate, with its standard error over blocks.

    Raises:
        UsageError: a size that is not positive, fewer than two blocks, or a stage that cannot work
            at `in_features`; a source without a fourth moment where it would be drawn.
    """
    for name, size in (("samples", samples), ("in_features", in_features), ("block", block)):
        if size < 1:
            raise UsageError(
                f"gmse {name}: got {size}, allowed are positive whole numbers; take 1048576 "
                "samples, 1024 in_features and blocks of 131072"
            )
    compressor = compressor.bind(in_features)
    if compressor.sparsifier.is_identity and compressor.quantizer.is_identity:
        return Estimate(0.0, 0.0, "exact")  # a transform alone loses nothing
    value = _integral(compressor, source)
    if value is not None:
        return Estimate(value, 0.0, "quadrature")
    return monte_carlo(
        compressor,
        samples=samples,
        in_features=in_features,
        seed=seed,
        block=block,
        source=source,
        precision=precision,
    )


def _integral(compressor: Compressor, source: Source) -> float | None:
    """The limit for large tensors; None where it has no closed form."""
    sparsifier, quantizer, transform = (
        compressor.sparsifier,
        compressor.quantizer,
        compressor.transform,
    )
    if not (sparsifier.by_rank or source.is_normal):
        return None
    if not (transform.is_identity or (transform.is_orthonormal and source.is_normal)):
        return None
    thresholds = tuple(source.own_magnitude(t) for t in sparsifier.breakpoints)
    nodes, weights = _rule(source, tuple(sign * t for t in thresholds for sign in (-1.0, 1.0)))
    keep = sparsifier.keep_probability(source.normal_magnitude(np.abs(nodes)))
    if keep is None:
        return None
    kept_mass = float(np.sum(weights * keep))
    kept_square = float(np.sum(weights * keep * nodes**2))
    spread = Spread(dense=1.0, masked=sqrt(kept_square), kept=sqrt(kept_square / kept_mass))
    edges = quantizer.gaussian_edges(spread)
    if edges is None:
        return None
    nodes, weights = _rule(
        source, (*edges, *(sign * t for t in thresholds for sign in (-1.0, 1.0)))
    )
    keep = sparsifier.keep_probability(source.normal_magnitude(np.abs(nodes)))
    values = quantizer.gaussian_values(nodes, spread)
    if keep is None or values is None:
        return None
    error = (1.0 - keep) * nodes**2 + keep * (nodes - values) ** 2
    return float(np.sum(weights * error))


def _rule(source: Source, breakpoints: tuple[float, ...]) -> tuple[Array, Array]:
    """Nodes and weights (density included) of Gauss-Legendre between the breakpoints."""
    pieces = source.pieces
    inner = np.asarray([b for b in breakpoints if abs(b) < pieces[-1]], dtype=np.float64)
    cuts = np.unique(np.concatenate([pieces, inner]))
    unit, unit_weights = np.polynomial.legendre.leggauss(NODES)
    middle, half = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    nodes = (middle[:, None] + half[:, None] * unit).ravel()
    weights = (half[:, None] * unit_weights).ravel()
    return nodes, np.asarray(weights * source.density(nodes), dtype=np.float64)


def monte_carlo(
    compressor: Compressor,
    *,
    samples: int,
    in_features: int,
    seed: int,
    block: int,
    source: Source = NORMAL,
    precision: float | None = None,
) -> Estimate:
    """`gmse` on random rows, whatever the compressor; the arguments are those of `gmse`."""
    if not source.has_fourth_moment:
        raise UsageError(
            "gmse source: got Student-t with nu <= 4, whose squared errors have no standard error, "
            "allowed here is nu above 4; raise nu, or take a format whose error is an integral "
            "(no transform, a scale from the RMS)"
        )
    compressor = compressor.bind(in_features)
    rows = max(1, block // in_features)
    blocks = -(-samples // (rows * in_features))
    if blocks < 2:
        raise UsageError(
            f"gmse samples: got {samples} in {blocks} block of {rows * in_features}, allowed are "
            "at least two blocks, for the standard error; raise samples or lower block"
        )
    generator = torch.Generator().manual_seed(seed)
    errors: list[float] = []
    powers: list[float] = []
    most = blocks if precision is None else MOST_TIMES * blocks
    while True:
        for _ in range(blocks):
            x = source.sample(rows, in_features, generator)
            errors.append((x - compressor.reconstruct(x)).double().square().sum().item())
            powers.append(x.double().square().sum().item())
        value, stderr = _ratio(np.asarray(errors), np.asarray(powers))
        if len(errors) >= most or precision is None or stderr <= precision * value:
            return Estimate(value, stderr, "monte carlo")


def _ratio(errors: Array, powers: Array) -> tuple[float, float]:
    """The ratio of two sums over blocks, and its linearised standard error."""
    value = errors.sum() / powers.sum()
    residual = errors - value * powers
    stderr = float(np.std(residual, ddof=1)) * sqrt(len(errors)) / float(powers.sum())
    return float(value), stderr
