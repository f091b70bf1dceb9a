"""What a program means, apart from how it is written: normal forms, trajectories, comparison."""
