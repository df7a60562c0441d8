"""Forward and backward of a compressed linear layer against the plain one, on two CPU threads.

Usage: python benchmarks/linear.py [name ...]; without names, one format of each kind. Prints a
table and writes benchmarks/linear.json. 2048 tokens, 1024 to 2816 features, fp32. Plain and
compressed passes alternate, so that load from elsewhere falls on both; the ratio is that of the
medians.

The projection of the weight is counted in every pass ("ratio"), and apart ("weight_ms") since a
training step does it once however many micro-batches it has.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

from unified_laws.cli.build import load_format
from unified_laws.compression.linear import CompressedLinear

TOKENS, IN, OUT, THREADS, PAIRS, WARM_UP = 2048, 1024, 2816, 2, 5, 1
# The targets of issue 3, by name; None where there is none.
FORMATS: dict[str, float | None] = {
    "bf16": 1.0,
    "int4": 1.10,
    "tread4": 1.10,
    "absmax4_g32": 1.10,
    "e2m1": 1.10,
    "mxfp4": 1.10,
    "nvfp4": 1.10,
    "w4a4": 1.25,
    "w8a8": 1.25,
    "sparse2of4": 1.15,
    "sparse50": 1.20,
    "int4_sparse50": 1.20,
    "lsq4": None,
    "vq2x256": 2.0,
}


def seconds(layer: nn.Linear, x: torch.Tensor, g: torch.Tensor) -> float:
    """One forward and backward."""
    layer.weight.grad = x.grad = None
    start = time.perf_counter()
    layer(x).backward(g)
    return time.perf_counter() - start


def measure(name: str) -> dict[str, float | str | None]:
    """Medians of interleaved passes, in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TOKENS, IN, generator=generator).requires_grad_()
    g = torch.randn(TOKENS, OUT, generator=generator)
    plain = nn.Linear(IN, OUT, bias=False)
    compressed = CompressedLinear.from_linear(nn.Linear(IN, OUT, bias=False), load_format(name))
    if compressed.activation_compressor is not None:
        compressed.activation_compressor.attach(x.detach(), is_weight=False)
    times: list[tuple[float, float, float]] = []
    for _ in range(WARM_UP + PAIRS):
        before, after = seconds(plain, x, g), seconds(compressed, x, g)
        start = time.perf_counter()
        compressed.projected_weight()
        times.append((before, after, time.perf_counter() - start))
    kept = [[1e3 * t for t in column] for column in zip(*times[WARM_UP:], strict=True)]
    plain_ms, compressed_ms, weight_ms = map(statistics.median, kept)
    return {
        "format": name,
        "plain_ms": round(plain_ms, 1),
        "compressed_ms": round(compressed_ms, 1),
        "weight_ms": round(weight_ms, 1),
        "ratio": round(compressed_ms / plain_ms, 3),
        "target": FORMATS.get(name),
    }


def main(names: list[str]) -> None:
    """Measure, print, write."""
    torch.set_num_threads(THREADS)
    rows = []
    print(
        f"{'format':20}{'plain ms':>10}{'compr. ms':>10}{'weight ms':>10}{'ratio':>8}{'target':>8}"
    )
    for name in names or list(FORMATS):
        row = measure(name)
        rows.append(row)
        target = "–" if row["target"] is None else row["target"]
        print(
            f"{name:20}{row['plain_ms']:>10}{row['compressed_ms']:>10}{row['weight_ms']:>10}"
            f"{row['ratio']:>8}{target:>8}",
            flush=True,
        )
        settings = {"tokens": TOKENS, "in": IN, "out": OUT, "threads": THREADS, "pairs": PAIRS}
        result = {"settings": settings | {"torch": torch.__version__}, "rows": rows}
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
