"""What `per` means: which axes of a tensor the parts of a reduction go over."""

from collections.abc import Sequence

from .records import Scalar


def axes(shape: Sequence[int], per: Scalar) -> tuple[int, ...]:
    """The axes of a tensor that one number of a reduction sums over; `per` is a `types.Per`."""
    rank = len(shape)
    every = tuple(range(rank))
    if isinstance(per, int):
        return tuple(axis for axis in every if axis != per)
    match per:
        case "element":
            return ()
        case "unit" if sum(length != 1 for length in shape) > 1:
            return (0,) if rank <= 3 else every[:-1]
        case "row" if rank >= 2:
            return (rank - 1,)
        case "column" if rank >= 2:
            return (rank - 2,)
        case "matrix" if rank >= 2:
            return (rank - 2, rank - 1)
        case _:
            return every


def shape_of_parts(shape: Sequence[int], per: Scalar) -> tuple[int, ...]:
    """The shape of one number for each part, which broadcasts against the tensor."""
    summed = axes(shape, per)
    return tuple(1 if axis in summed else length for axis, length in enumerate(shape))
