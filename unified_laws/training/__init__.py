"""One run from its plain arguments to its record."""
