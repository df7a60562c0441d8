"""Writing what a compressed layer multiplies with into a plain one."""

from __future__ import annotations

import torch
from torch import nn

from unified_laws.compression.linear import CompressedLinear
from unified_laws.errors import UsageError


@torch.no_grad()
def fold_linears(model: nn.Module) -> None:
    """Replace every compressed layer by a plain `nn.Linear` with the weight it multiplies with.

    For inference: the projected weight, in a folded transform's basis, is stored once, and
    parameters of the compressor (the R of arXiv:2506.01863 App. F) are multiplied in. The model
    has then exactly the parameters of the plain one and computes what the compressed one computed.

    Args:
        model: any module, changed in place; its compressed layers keep their master weights.

    Raises:
        UsageError: a layer compresses its inputs, which no weight can stand for; nothing has
            changed then.
    """
    layers = {
        fqn: layer
        for fqn, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, CompressedLinear)
    }
    for fqn, layer in layers.items():
        if layer.activation_compressor is not None:
            raise UsageError(
                f"fold of layer {fqn}: got format {layer.format_name}, which compresses "
                "activations, allowed are formats of weights alone; keep the layer compressed"
            )
    plain: dict[int, nn.Linear] = {}
    for fqn, layer in layers.items():
        if id(layer) not in plain:
            weight = layer.weight
            if layer.weight_compressor is not None:
                weight = layer.weight_compressor(weight)
            plain[id(layer)] = layer.to_linear()
            plain[id(layer)].weight = nn.Parameter(weight.detach().clone())
        parent, _, leaf = fqn.rpartition(".")
        setattr(model.get_submodule(parent), leaf, plain[id(layer)])
