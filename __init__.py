"""optc: a compiler for optimizers."""
