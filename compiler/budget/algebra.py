"""Matrix ops on one tensor: the shape of what they make, and their operations.

A product of m x k by k x n is 2 mkn. Factors are counted as dense algorithms on one matrix are in
Golub and Van Loan's book: Householder's for QR, the symmetric QR algorithm for eigenvalues, a
singular value decomposition for the polar factor, and elimination for a general system. What is
done from these with products is counted as products. All is times the places of the axes before.
Rounds by polynomials of a Gram matrix are counted one by one, on the smaller side; the runtime may
take several together, where that is less.
"""

from collections.abc import Sequence
from math import prod

from ..graph import Node, rounds
from ..lengths import worked_out
from ..ops import MAKERS
from ..records import Scalar

Shape = tuple[int, ...]


def shape(node: Node, inputs: Sequence[Shape], named: Sequence[int]) -> Shape:
    """The shape of a value, from those of the fields that it is made of.

    `named` are the hyperparameters among the lengths of a new matrix.
    """
    x = inputs[0]
    match node.op:
        case op if op in MAKERS:
            shape = worked_out(str(node["lengths"]), x, named)
            return (*shape, shape[-1]) if op == "eye" else shape
        case "matmul":
            return (*x[:-1], inputs[1][-1])
        case "matvec" | "onto_vector" | "diagonal" | "eigenvalues":
            return x[:-1]
        case "transpose":
            return (*x[:-2], x[-1], x[-2])
        case "trace":
            return (*x[:-2], 1, 1)
        case "diagonal_matrix":
            return (*x, x[-1])
        case "onto_matrix":
            return (*x, 1)
        case "solve":
            return inputs[1]
        case "take":
            axis, taken = int(node["axis"]), list(x)
            taken[axis] = inputs[1][-1]
            return tuple(taken)
        case _:
            return x


def flops(node: Node, inputs: Sequence[Shape], numbers: Sequence[Scalar | None]) -> float:
    """The operations of an op on one tensor, `numbers` those of its inputs that are known."""
    x = inputs[0]
    if node.op == "matvec":
        return 2.0 * prod(x)
    if len(x) < 2:
        return 0.0
    places, rows, cols = prod(x[:-2]), x[-2], x[-1]
    if node.op == "gram_loop":
        return float(places * _of_rounds(node, rows, cols, numbers))
    return float(places * _of_matrix(node, rows, cols, inputs))


def _of_rounds(node: Node, rows: int, cols: int, numbers: Sequence[Scalar | None]) -> float:
    """Rounds y <- p(yy')y: the Gram matrix, p of it by Horner's rule, and the product."""
    small, large = min(rows, cols), max(rows, cols)
    known = dict(zip(node.inputs, numbers, strict=True))
    sizes: list[int] = []
    for number, coefficients in rounds(node):
        sizes += [len(coefficients)] * int(known[number] or 0)
    if node.get("first"):
        sizes = sizes[: int(numbers[-1] or 0)]
    return float(sum(4 * small**2 * large + 2 * max(n - 2, 0) * small**3 for n in sizes))


def _of_matrix(node: Node, rows: int, cols: int, inputs: Sequence[Shape]) -> float:
    cubed, small, large = rows**3, min(rows, cols), max(rows, cols)
    match node.op:
        case "matmul":
            return 2 * rows * cols * inputs[1][-1]
        case "trace":
            return rows
        case "inverse_root" | "matrix_power":
            return 9 * cubed + 2 * cubed
        case "eigenbasis":
            return 9 * cubed
        case "eigenvalues":
            return 4 * cubed / 3
        case "orthonormal":
            return 4 * large * small**2 - 4 * small**3 / 3
        case "polar":
            return 6 * large * small**2 + 20 * small**3 + 2 * large * small**2
        case "cholesky":
            return cubed / 3
        case "solve":
            factor = 0 if node.get("triangular") else 2 * cubed / 3
            sides = 1 if node.get("triangular") else 2
            return factor + sides * rows**2 * inputs[1][-1]
        case _:
            return 0
