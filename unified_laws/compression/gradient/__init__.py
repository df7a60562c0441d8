"""How the gradient passes a projection on a grid."""
