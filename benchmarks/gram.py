"""What iterations by a Gram matrix are wrong by, against the singular values in float64.

`python -m benchmarks.gram` prints the largest singular value of the error, the worst over matrices
of several spectra, for each way of doing the same rounds. Some have singular values over many
decades, since rounds let small ones grow, and rounding with them. Nothing is timed.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from optc.runtime.gram import Polynomial, bursts, gram_loop

from .spectra import POLAR_EXPRESS, iterated, of_spectrum

SHAPE = (256, 1024)

NEWTON_SCHULZ = [(3.4445, -4.7750, 2.0315)] * 5
ROUNDS = {
    "Newton-Schulz, 5": NEWTON_SCHULZ,
    "Polar Express, 5": POLAR_EXPRESS[:5],
    "Polar Express, 8": POLAR_EXPRESS,
    "cubic, 20": [(1.5, -0.5)] * 20,
}

SPECTRA = {
    "Gaussian": None,
    "three decades": np.logspace(0, -3, SHAPE[0]),
    "seven decades": np.logspace(0, -7, SHAPE[0]),
    "rank 8": np.repeat((1.0, 0.0), (8, SHAPE[0] - 8)),
    "near rank 8": np.repeat((1.0, 1e-4), (8, SHAPE[0] - 8)),
    "one large": np.repeat((1.0, 1e-2), (1, SHAPE[0] - 1)),
}

Way = Callable[[jax.Array, Sequence[Polynomial]], jax.Array]


def plainly(x: jax.Array, polynomials: Sequence[Polynomial]) -> jax.Array:
    """A Gram matrix for each round."""
    for polynomial in polynomials:
        x = gram_loop(x, [polynomial])
    return x


def as_planned(x: jax.Array, polynomials: Sequence[Polynomial]) -> jax.Array:
    """As the runtime does it."""
    return gram_loop(x, polynomials)


def with_bfloat16(x: jax.Array, polynomials: Sequence[Polynomial]) -> jax.Array:
    """As it does where products are of bfloat16, and sums and y of float32."""
    return gram_loop(x, polynomials, precision="bfloat16")


def all_in_bfloat16(x: jax.Array, polynomials: Sequence[Polynomial]) -> jax.Array:
    """As Keller Jordan's code does: y is kept in bfloat16 too."""
    y = x.astype(jnp.bfloat16)
    for constant, *more in polynomials:
        gram = y @ y.mT
        term, total = gram, more[0] * gram
        for coefficient in more[1:]:
            term = term @ gram
            total = total + coefficient * term
        y = constant * y + total @ y
    return y


WAYS: dict[str, Way] = {
    "plainly": plainly,
    "in bursts": as_planned,
    "products of bfloat16": with_bfloat16,
    "all in bfloat16": all_in_bfloat16,
}


def built(spectrum: np.ndarray | None) -> np.ndarray:
    """A matrix of norm 1 with singular values in these proportions, or a Gaussian one."""
    random = np.random.default_rng(0)
    if spectrum is None:
        x = random.normal(size=SHAPE)
    else:
        x, _, _ = of_spectrum(spectrum, SHAPE, random)
    return x / np.linalg.norm(x)


def main() -> None:
    """Print a table for each way, and how the rounds are cut into bursts."""
    print(f"The largest error of {len(SPECTRA)} matrices of {SHAPE[0]} x {SHAPE[1]}\n")
    print(f"| {'rounds':17} | {' | '.join(f'{way:>20}' for way in WAYS)} | bursts  |")
    print(f"|{'-' * 19}|{'|'.join('-' * 21 + ':' for _ in WAYS)}|---------|")
    for name, polynomials in ROUNDS.items():
        worst = []
        matrices = [built(spectrum) for spectrum in SPECTRA.values()]
        answers = [iterated(x, polynomials) for x in matrices]
        for way in WAYS.values():
            run = jax.jit(lambda x, way=way, polynomials=polynomials: way(x, polynomials))
            errors = []
            for x, answer in zip(matrices, answers, strict=True):
                found = np.asarray(run(jnp.asarray(x, jnp.float32)), np.float64)
                errors.append(np.linalg.norm(found - answer, 2))
            worst.append(f"{max(errors):>20.1e}")
        cut = " + ".join(str(len(burst)) for burst in bursts(*SHAPE, polynomials))
        print(f"| {name:17} | {' | '.join(worst)} | {cut:7} |", flush=True)


if __name__ == "__main__":
    main()
