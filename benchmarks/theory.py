"""The terms of Theorem 1 (arXiv:2506.01863, App. G) along the training of a micro model.

Usage: python benchmarks/theory.py TEXT [steps]. TEXT is a UTF-8 file with documents separated by
<|endoftext|> (tests/data/sotu_tiny.txt does). Writes benchmarks/theory.json and docs/theory.svg.
About five minutes on one core for 200 steps.

Algorithm 3 as it stands: AMSGrad on the master weights, straight-through gradients at the
compressed ones (every estimator and mask is replaced by the plain one). Every 20 steps the gradient
on a large batch stands for the expectation. L is measured in the direction that matters, as
‖grad f(theta^) - grad f(theta)‖ / ‖theta^ - theta‖, and by power iteration on the Hessian at
theta^; the bound takes the larger one seen. G_inf is the largest entry of any training gradient.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from unified_laws.cli.build import load_format
from unified_laws.cli.entry import compose
from unified_laws.compression.backward_mask.full import FullMask
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format
from unified_laws.compression.gradient.straight_through import StraightThrough
from unified_laws.compression.swap import swap_linears
from unified_laws.figures.style import PALETTE, new_figure, styled, to_svg
from unified_laws.laws.theory import Setting, amsgrad_bound
from unified_laws.model.llama import Llama, initialise
from unified_laws.train import plan_run
from unified_laws.training.amsgrad import AMSGrad
from unified_laws.training.module import compressed_linears

FORMATS = ("bf16", "int8", "int6", "int4", "int3", "int2", "int1", "sparse50", "sparse75")
# eps = 1e-8 is the configuration's; at 1 the theorem's step is large enough to move at all.
EPS = (1e-8, 1.0)
LR, BETAS, SEED, EVERY, LARGE, POWER = 0.006, (0.9, 0.95), 0, 20, 256, 6


def plain(format: Format) -> Format:
    """The same forward, straight-through backward without any mask."""
    if format.weight is None:
        return format
    w = format.weight
    weight = Compressor(w.transform, w.sparsifier, FullMask(), w.quantizer, StraightThrough())
    return replace(format, weight=weight)


def gradient(model: nn.Module, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The gradient on one batch, flat."""
    loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in parts]).detach()


def set_flat(model: nn.Module, flat: torch.Tensor) -> None:
    """Parameters from one vector."""
    nn.utils.vector_to_parameters(flat, model.parameters())


def master_and_compressed(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Theta and theta^, flat, in the order of the parameters."""
    projected = {
        id(linear.get_parameter("weight")): linear.projected_weight()
        for _, linear in compressed_linears(model)
    }
    master = [p.detach().flatten() for p in model.parameters()]
    ours = [projected.get(id(p), p.detach()).detach().flatten() for p in model.parameters()]
    return torch.cat(master), torch.cat(ours)


def largest_curvature(twin: nn.Module, at: torch.Tensor, batch: Any, start: torch.Tensor) -> float:
    """Largest |eigenvalue| of the Hessian by power iteration on differences of gradients."""
    set_flat(twin, at)
    base, direction, value = gradient(twin, *batch), start / start.norm(), 0.0
    for _ in range(POWER):
        set_flat(twin, at + 1e-2 * direction)
        product = (gradient(twin, *batch) - base) / 1e-2
        value = float(product.norm())
        direction = product / max(value, 1e-30)
    return value


def measure(name: str, text: Path, steps: int, cache: str, eps: float) -> dict[str, Any]:
    """Train with one format and collect what the bound needs."""
    overrides = ["data=sotu_tiny", f"data.source.path={text}", "model=micro_10k"]
    plan, store = plan_run(compose("train", [*overrides, f"cache_dir={cache}", "num_tokens=1e6"]))
    model = Llama(plan.shape)
    initialise(model, seed=SEED, std=plan.init_std)
    twin = copy.deepcopy(model)
    swap_linears(model, plain(load_format(name)))
    optimizer = AMSGrad(model.parameters(), lr=LR, betas=BETAS, eps=eps, weight_decay=0.0)

    def batch(step: int, seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return store.batch(
            seed=seed,
            step=step,
            rank=0,
            world_size=1,
            batch_size=size,
            seq_len=plan.shape.seq_len,
            num_tokens=10**6,
        )

    large = batch(0, SEED + 1, LARGE)
    noise = torch.Generator().manual_seed(SEED)
    largest_entry = smoothness = variance = 0.0
    errors: list[float] = []
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    for step in range(steps):
        tokens, targets = batch(step, SEED, plan.batch_size)
        theta, compressed = master_and_compressed(model)
        errors.append(float((compressed - theta).norm()))
        set_flat(twin, compressed)
        own = gradient(twin, tokens, targets)
        largest_entry = max(largest_entry, float(own.abs().max()))
        if step % EVERY == 0:
            mean = gradient(twin, *large)
            variance = max(variance, float((own - mean).square().sum()))
            start = torch.randn(len(theta), generator=noise)
            curvature = largest_curvature(twin, compressed, large, start)
            along = 0.0
            if errors[-1] > 0:
                set_flat(twin, theta)
                along = float((mean - gradient(twin, *large)).norm()) / errors[-1]
            smoothness = max(smoothness, curvature, along)
            rows.append(
                {
                    "step": step,
                    "gradient_square": float(mean.square().sum()),
                    "error": errors[-1],
                    "curvature": curvature,
                    "curvature_along_error": along,
                }
            )
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    setting = Setting(
        smoothness=smoothness,
        largest_entry=largest_entry,
        num_params=len(theta),
        variance=variance,
        gap=losses[0],  # f* is at least 0
        beta1=BETAS[0],
        eps=eps,
        steps=steps,
    )
    bound = amsgrad_bound(setting, float(np.mean(errors)))
    return {
        "format": name,
        "eps": eps,
        "trajectory": rows,
        "mean_error": float(np.mean(errors)),
        "mean_gradient_square": float(np.mean([row["gradient_square"] for row in rows])),
        "smoothness": smoothness,
        "largest_entry": largest_entry,
        "variance": variance,
        "num_params": len(theta),
        "first_loss": losses[0],
        "last_loss": float(np.mean(losses[-20:])),
        "step_of_the_theorem": setting.step,
        "step_used": LR,
        "terms": {k: getattr(bound, k) for k in ("start", "noise", "momentum", "compression")},
        "compression_share": bound.compression_share,
        # Of what stays at T -> inf beside what is measured.
        "bound_over_measured": bound.total
        / float(np.mean([row["gradient_square"] for row in rows])),
    }


def draw(results: list[dict[str, Any]], target: Path) -> None:
    """Three panels: the trajectory, the terms, the share over the error."""
    with styled():
        figure = new_figure(11.0, 3.8)
        left, middle, right = figure.subplots(1, 3)
        first = [r for r in results if r["eps"] == EPS[0]]
        shown = [r for r in first if r["format"] in ("bf16", "int4", "int3", "int2", "int1")]
        for color, result in zip(PALETTE, shown, strict=False):
            steps = [row["step"] for row in result["trajectory"]]
            squares = [row["gradient_square"] for row in result["trajectory"]]
            left.plot(steps, squares, color=color, label=result["format"])
        left.set_yscale("log")
        left.set_xlabel("step")
        left.set_title("‖∇f(θ̂)‖² along the trajectory")
        left.legend()
        names = [r["format"] for r in first]
        for color, term in zip(
            PALETTE[1:], ("start", "noise", "momentum", "compression"), strict=False
        ):
            values = [r["terms"][term] for r in first]
            middle.plot(
                names, [v if v > 0 else math.nan for v in values], "o-", color=color, label=term
            )
        middle.plot(names, [r["mean_gradient_square"] for r in first], "k*", label="measured")
        middle.set_yscale("log")
        middle.set_title("terms of the bound, eps = 1e-8")
        middle.tick_params(axis="x", rotation=60)
        middle.legend(fontsize=7, loc="center left", bbox_to_anchor=(0.0, 0.2), ncols=2)
        for color, eps in zip(PALETTE[1:], EPS, strict=False):
            own = [r for r in results if r["eps"] == eps and r["mean_error"] > 0]
            right.plot(
                [r["mean_error"] for r in own],
                [r["compression_share"] for r in own],
                "o",
                color=color,
                label=f"eps = {eps:g}",
            )
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("mean ‖θ̂ − θ‖")
        right.set_title("share of the RMSE term in the bound")
        right.legend()
    alt = "Gradient norms, terms of the bound of Theorem 1 and the share of its RMSE term"
    picture = to_svg(figure, name="theory", alt=alt)
    target.write_text(
        picture.replace("<svg ", '<svg style="background:#fff" ', 1), encoding="utf-8"
    )


def main() -> None:
    """All formats, both eps; resumes from what is in the JSON."""
    torch.set_num_threads(1)
    text, here = Path(sys.argv[1]).resolve(), Path(__file__).resolve().parent
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    out = here / "theory.json"
    results = json.loads(out.read_text()) if out.exists() else []
    done = {(r["format"], r["eps"]) for r in results}
    with tempfile.TemporaryDirectory() as cache:
        for eps in EPS:
            for name in FORMATS:
                if (name, eps) in done:
                    continue
                results.append(measure(name, text, steps, cache, eps))
                out.write_text(json.dumps(results, indent=1) + "\n")
                row = results[-1]
                print(
                    f"{name:9} eps {eps:g}: error {row['mean_error']:.3f} "
                    f"L {row['smoothness']:.2f} "
                    f"G_inf {row['largest_entry']:.3f} measured {row['mean_gradient_square']:.4f} "
                    f"bound/measured {row['bound_over_measured']:.1e} "
                    f"share {row['compression_share']:.2e} loss {row['last_loss']:.3f}",
                    flush=True,
                )
    draw(results, here.parent / "docs" / "theory.svg")


if __name__ == "__main__":
    main()
