"""The error of a format on the weights of a trained model, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format

STATE = ".weight_compressor."  # where a learned stage keeps its state below the layer's name


class LayerError(NamedTuple):
    """The relative error ‖W - C(W)‖²/‖W‖² of one layer, and the compressor it was measured with."""

    layer: str
    error: float
    compressor: Compressor
    in_features: int


@torch.no_grad()
def layer_errors(
    state: Mapping[str, Tensor], layers: Mapping[str, int], format: Format
) -> Iterator[LayerError]:
    """The error of each layer, one at a time.

    Args:
        state: state dict of the model, holding ``<layer>.weight`` (out_features, in_features); the
            state of learned stages only if the model was trained in this very format, otherwise
            they start from the weights.
        layers: dotted name of each compressed layer, with its in_features.
        format: what happens to the weights; one without a weight compressor leaves no error.
    """
    for layer, in_features in layers.items():
        weight = state[f"{layer}.weight"].float()
        compressor = format.bind(in_features)[0]
        if compressor is None:
            continue
        compressor.attach(weight, is_weight=True)
        prefix = layer + STATE
        learned = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if learned:
            compressor.load_state_dict(learned)
        lost = (weight - compressor.reconstruct(weight)).double().square().sum()
        power = weight.double().square().sum()
        yield LayerError(layer, float(lost / power) if power > 0 else 0.0, compressor, in_features)
