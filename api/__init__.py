"""What a person calls from Python: the compiler and the runtime together."""
