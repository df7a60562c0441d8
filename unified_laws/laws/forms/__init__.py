"""Rival loss laws: one file per law, one estimator and one comparison for all."""
