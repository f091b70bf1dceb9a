"""`optc train`: a built-in task, trained with any spec, resumable to the bit."""
