"""Changes of basis along the reduction dimension."""
