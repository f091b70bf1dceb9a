"""From a syntax tree to the text of a Python module. Never imports JAX."""
