"""Hydra: the entry decorator, format names, checked instantiate."""
