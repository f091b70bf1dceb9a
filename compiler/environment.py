"""What a graph is run in: the objective, random draws, transformations of optax, named tensors.

The interpreter is handed these, and does not know who they are: a model under JAX, or a tape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Tensor = Any
Fields = list[Any]


class Oracles(Protocol):
    """The objective on one batch: what it answers at a point (a list of float64 arrays)."""

    def loss(self, at: Fields) -> float:
        """The loss."""

    def grad(self, at: Fields) -> Fields:
        """Its gradient."""

    def outputs(self, at: Fields) -> Tensor:
        """The model's outputs, all in one array."""

    def outputs_grad(self, at: Fields) -> Tensor:
        """The derivative of the loss in the outputs."""

    def sampled_outputs_grad(self, at: Fields, site: int, rounds: tuple[int, ...]) -> Tensor:
        """The same under labels that the model draws, another time at each site and round."""

    def pullback(self, at: Fields, cotangent: Tensor) -> Fields:
        """The transposed Jacobian of the outputs times `cotangent`."""

    def hvp(self, at: Fields, vector: Fields) -> Fields:
        """The Hessian of the loss times `vector`."""

    def ggn(self, at: Fields, vector: Fields) -> Fields:
        """The Gauss-Newton matrix J'BJ times `vector`, B the Hessian in the outputs."""

    def feature_covariance(self, at: Fields) -> list[tuple[Tensor, tuple[int, ...]] | None]:
        """For each tensor, what there is to know of it as a layer's matrix.

        The second moment of the outputs' derivative in what the layer hands on, and whether the
        matrix has its units as columns.
        """

    def fisher_factors(self, at: Fields, axis: int, rounds: tuple[int, ...]) -> Fields:
        """For each matrix of a layer, the factor of its Fisher matrix that meets one axis of it.

        Labels are drawn another time in each round; of other tensors it is not asked.
        """

    def per_example_grad(self, at: Fields) -> list[Fields]:
        """The gradient of each example of the batch."""

    def measured(self, at: Fields, name: str, axis: int, like: Fields) -> Fields:
        """What the model measures, for each tensor of `like` along an axis of it."""


Draw = Callable[[str, int, tuple[int, ...], Fields | None], Any]
"""Random fields: op, site, rounds of the loops around it, and a field of their shapes.

Without a field it is one random number.
"""


class Extern(Protocol):
    """Transformations that the graph only names, made of the values of their arguments."""

    def start(self, path: str, arguments: Mapping[str, Any], weights: Fields) -> Any:
        """The state of the transformation `module.function`; None where it has no tensor."""

    def update(
        self,
        path: str,
        arguments: Mapping[str, Any],
        signal: Fields,
        state: Any,
        weights: Fields,
        extra: Mapping[str, Any],
    ) -> tuple[Fields, Any]:
        """The transformed signal and the next state."""


@dataclass(frozen=True)
class Tensors:
    """What predicates may ask of the weight tensors: a path and a dtype for each."""

    paths: Sequence[str]
    dtypes: Sequence[str]
