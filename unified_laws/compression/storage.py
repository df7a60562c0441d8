"""What a compressed weight costs to store."""

from __future__ import annotations

from unified_laws.compression.compressor import Compressor


def bits_per_weight(compressor: Compressor, in_features: int = 1024) -> float:
    """Bits per weight of an ideal packing: kept values, their scales, and the mask.

    kept_fraction·bits + scale_bits/in_features + mask entropy. An unquantized value counts 16 bits,
    a scale 16 bits (bf16). The transform costs nothing.

    Args:
        compressor: of the weight.
        in_features: values that share a row, over which a scale per row is spread.
    """
    sparsifier, quantizer = compressor.sparsifier, compressor.quantizer
    return (
        sparsifier.kept_fraction * quantizer.bits
        + quantizer.scale_bits(in_features) / in_features
        + sparsifier.mask_entropy_bits
    )
