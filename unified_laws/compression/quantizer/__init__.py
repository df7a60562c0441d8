"""Projection of the kept values on a grid."""
