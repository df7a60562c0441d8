"""Which values of an operand are kept."""
