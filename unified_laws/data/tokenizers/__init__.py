"""How text becomes tokens: one recipe per file."""
