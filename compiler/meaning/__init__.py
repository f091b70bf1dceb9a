"""What a program means: whether two are the same map, and whether one still is what it was."""
