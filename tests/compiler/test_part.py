"""What CI takes of the library, where each optimizer is dear, has every op of the library."""

from part import OPTIMIZERS, PART, operations


def chosen(ops):
    """Names that between them have all ops: each has most of what is missing, and least besides."""
    missing, names = frozenset().union(*ops.values()), []
    while missing:
        names.append(max(ops, key=lambda name: (len(ops[name] & missing), -len(ops[name]))))
        missing -= ops[names[-1]]
    return sorted(names)


def test_the_part_has_every_op_of_the_library():
    ops = {name: operations(name) for name in OPTIMIZERS}
    missing = frozenset().union(*ops.values()) - frozenset().union(*(ops[n] for n in PART))
    assert not missing, f"let PART be {chosen(ops)}"
