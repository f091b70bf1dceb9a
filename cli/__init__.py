"""The command line: `optc compile`, `check`, `fmt`, `list`, `show`, `explain`, `train`."""
