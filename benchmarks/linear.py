"""Forward and backward of a compressed linear layer against the plain one, on two CPU threads.

Usage: python benchmarks/linear.py [name ...]; without names, formats of each kind. Prints a table
and writes benchmarks/linear.json; with --profile name it prints where the time of one format goes,
and with --table docs/formats-speed.md it puts the numbers of linear.json there.
2048 tokens, 1024 to 2816 features, fp32.

Plain and compressed passes alternate, so that load from elsewhere falls on both. "ratio" is the
median of the ratios of neighbours, "best" the ratio of the fastest passes, which load disturbs
least: on a quiet machine the two agree. Both count a projection of the weight in every pass. "step"
is what training pays: the ratio of steps of four micro-batches that share one projection.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unified_laws.cli.build import load_format
from unified_laws.compression.linear import CompressedLinear

TOKENS, IN, OUT, THREADS, PAIRS, WARM_UP = 2048, 1024, 2816, 2, 9, 1
MICRO_BATCHES, STEP_PAIRS = 4, 3
MARKS = "<!-- measured -->", "<!-- /measured -->"
# The targets of issue 3, by name; None where there is none.
FORMATS: dict[str, float | None] = {
    "bf16": 1.0,
    "int4": 1.10,
    "int4_unrotated": 1.10,
    "tread4": 1.10,
    "absmax4": 1.10,
    "absmax4_g32": 1.10,
    "lloyd4": 1.10,
    "e2m1": 1.10,
    "e2m1_unrotated": 1.10,
    "mxfp4": 1.10,
    "mxfp8e4m3": 1.10,
    "nvfp4": 1.10,
    "w4a4": 1.25,
    "w4a4_fold": 1.25,
    "w4a4_unrotated": 1.25,
    "w8a8": 1.25,
    "sparse2of4": 1.15,
    "sparse50": 1.20,
    "int4_sparse50": 1.20,
    "lsq4": None,
    "vq2x256": 2.0,
}


class Bench:
    """A plain and a compressed layer of the same shape, and their passes."""

    def __init__(self, name: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(TOKENS, IN, generator=generator).requires_grad_()
        self.g = torch.randn(TOKENS, OUT, generator=generator)
        self.plain = nn.Linear(IN, OUT, bias=False)
        layer = nn.Linear(IN, OUT, bias=False)
        self.compressed = CompressedLinear.from_linear(layer, load_format(name))
        if self.compressed.activation_compressor is not None:
            self.compressed.activation_compressor.attach(self.x.detach(), is_weight=False)

    def once(self, layer: nn.Linear) -> float:
        """Seconds of one forward and backward."""
        layer.weight.grad = self.x.grad = None
        start = time.perf_counter()
        layer(self.x).backward(self.g)
        return time.perf_counter() - start

    def step(self, layer: nn.Linear) -> float:
        """Seconds of a step of several micro-batches, which share one projected weight."""
        layer.weight.grad = None
        start = time.perf_counter()
        if isinstance(layer, CompressedLinear):
            layer.cache_weight()
        for _ in range(MICRO_BATCHES):
            self.x.grad = None
            layer(self.x).backward(self.g)
        if isinstance(layer, CompressedLinear):
            layer.drop_weight()
        return time.perf_counter() - start

    def pairs(self, passes: Callable[[nn.Linear], float], count: int) -> tuple[float, float, float]:
        """Median ratio of neighbours, ratio of the fastest, and the plain median in seconds."""
        for _ in range(WARM_UP):
            passes(self.plain)
            passes(self.compressed)
        found = [(passes(self.plain), passes(self.compressed)) for _ in range(count)]
        plain, compressed = zip(*found, strict=True)
        ratio = statistics.median(b / a for a, b in found)
        return ratio, min(compressed) / min(plain), statistics.median(plain)


def measure(name: str) -> dict[str, float | str | None]:
    """The ratios of one format."""
    bench = Bench(name)
    ratio, best, plain = bench.pairs(bench.once, PAIRS)
    step, _, _ = bench.pairs(bench.step, STEP_PAIRS)
    return {
        "format": name,
        "plain_ms": round(1e3 * plain, 1),
        "ratio": round(ratio, 3),
        "best": round(best, 3),
        "step": round(step, 3),
        "target": FORMATS.get(name),
    }


def profile(name: str) -> None:
    """Print the operators of one compressed pass by their own time."""
    bench = Bench(name)
    bench.once(bench.compressed)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        bench.once(bench.compressed)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


def write_table(page: Path) -> None:
    """Put the rows of linear.json between the marks of a page."""
    found = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    lines = ["| format | ratio | best | step | target |", "|---|--:|--:|--:|--:|"]
    for row in found["rows"]:
        target = "–" if row["target"] is None else f"{row['target']:.2f}"
        numbers = " | ".join(f"{row[column]:.3f}" for column in ("ratio", "best", "step"))
        lines.append(f"| `{row['format']}` | {numbers} | {target} |")
    settings = ", ".join(f"{key} {value}" for key, value in found["settings"].items())
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    body = "\n".join(["", f"Measured with {settings}.", "", *lines, ""])
    page.write_text(f"{head}{MARKS[0]}\n{body}\n{MARKS[1]}{tail}", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Measure, print, write; or profile."""
    torch.set_num_threads(THREADS)
    if arguments[:1] == ["--profile"]:
        profile(arguments[1])
        return
    if arguments[:1] == ["--table"]:
        write_table(Path(arguments[1]))
        return
    rows = []
    columns = ("plain_ms", "ratio", "best", "step", "target")
    print(f"{'format':20}" + "".join(f"{column:>10}" for column in columns))
    for name in arguments or list(FORMATS):
        row = measure(name)
        rows.append(row)
        shown = ["–" if row[column] is None else str(row[column]) for column in columns]
        print(f"{name:20}" + "".join(f"{text:>10}" for text in shown), flush=True)
        settings = {"tokens": TOKENS, "in": IN, "out": OUT, "threads": THREADS, "pairs": PAIRS}
        settings |= {"micro_batches": MICRO_BATCHES, "load": round(os.getloadavg()[0], 1)}
        result = {"settings": settings | {"torch": torch.__version__}, "rows": rows}
        Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
