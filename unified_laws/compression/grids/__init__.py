"""Codebooks for vectors of N(0, 1) values: trained here, shipped as files without pickle."""
