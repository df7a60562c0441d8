"""unified_laws: how many parameters is a compressed model really worth? (arXiv:2506.01863)."""

__version__ = "0.1.0"
