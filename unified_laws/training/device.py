"""Which device, and which precision it has."""

from __future__ import annotations

from typing import Literal

import torch

from unified_laws.errors import UsageError
from unified_laws.training.fit_model import Hardware, Precision

PRECISIONS: dict[str, Precision] = {"32-true": "32-true", "bf16-mixed": "bf16-mixed"}


def resolve_hardware(
    *,
    device: str,
    devices: int,
    num_nodes: int,
    threads: int,
    precision: str,
    micro_batch_size: int | None,
    compile: bool,
) -> Hardware:
    """Turn "auto" into what is there.

    bf16 autocast pays where the hardware has it; on a CPU it is emulated or slow for models of
    micro size, so fp32 is taken there.

    Raises:
        UsageError: an unknown device or precision, or CUDA asked for where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is {device!r}; allowed: auto, cpu, cuda")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise UsageError("device=cuda, but torch finds no CUDA device; use device=cpu")
    accelerator: Literal["cpu", "cuda"] = "cuda" if cuda and device != "cpu" else "cpu"
    if precision == "auto":
        bf16 = accelerator == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16-mixed" if bf16 else "32-true"
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; allowed: auto, {', '.join(PRECISIONS)}")
    for name, value in (("devices", devices), ("num_nodes", num_nodes), ("threads", threads)):
        if value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    return Hardware(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        threads=threads,
        precision=PRECISIONS[precision],
        micro_batch_size=micro_batch_size,
        compile=compile,
    )
