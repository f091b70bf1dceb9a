"""The library of specs: one declaration in each file, in a folder for each kind."""
