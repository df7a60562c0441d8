"""Laws of the data."""
