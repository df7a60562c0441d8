"""Where documents come from: one class per kind of source."""
