"""Specs around the body of a rule, for tests of what it says."""

import numpy as np


def rule(body, params="", kind="precondition", optimizer="", more=""):
    """A spec with one rule `own` and the optimizer that uses it."""
    place = {"precondition": "precondition own(ARGS)\n  tune step 0.1"}[kind]
    names = ", ".join(p.split(":")[0].split("=")[0].strip() for p in optimizer.split(",") if p)
    return f"""
    rule {kind} own({params}) {{ {body} }}
    optimizer one({optimizer}) {{ {place.replace("ARGS", names)} {more} }}
    """


def matrix(x):
    return np.ndim(x) >= 2
