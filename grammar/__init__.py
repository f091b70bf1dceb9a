"""From the text of a spec to its syntax tree and back, and mistakes in it as values."""
