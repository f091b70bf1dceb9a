"""What an optimizer costs for real weights: who gets what, bytes, operations, oracles."""
