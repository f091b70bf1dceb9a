"""What a program means: its normal form, its trajectories on tapes, and who means the same."""
