"""From a resolved spec to its graph: rules are inlined, values typed, control flow nested."""
