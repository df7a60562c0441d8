"""Which values of a sparse operand receive a gradient."""
