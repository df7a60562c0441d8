"""Formats: transform, sparsifier, quantizer, gradient estimator; GMSE; the swap of linears."""
