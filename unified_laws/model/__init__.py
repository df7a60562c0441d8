"""The Llama decoder and the counting of its parameters."""
