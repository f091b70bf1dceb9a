"""What changed between two optimizers, for a person who reviews the change."""
