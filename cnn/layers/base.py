"""What every layer is, and what it keeps between forward and backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from cnn.arrays import AnyArray, FloatArray
from cnn.changes import Watched
from cnn.layers.state import fitted
from cnn.parameter import Parameter

T = TypeVar("T")


class Layer(Watched, ABC):
    """A differentiable function with parameters and, in some layers, buffers or generators."""

    @abstractmethod
    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Apply the layer to a batch.

        Parameters
        ----------
        x : (N, ...) array of float32 or float64
            The batch, of the dtype of the layer's parameters; without training it may be empty,
            which is how the shape of the output is found out.
        training : bool
            Keep what :meth:`backward` needs, and let batch-norm use (and track) the batch's own
            statistics. Without it nothing in the layer changes.

        Raises
        ------
        kernels.ShapeError, TypeError
            If x does not fit.
        """

    @abstractmethod
    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Set the parameters' gradients and return that of the last training forward's input.

        What that forward kept is released.

        Parameters
        ----------
        grad_y : array of the output's shape
            Gradient of the loss with respect to the output.

        Raises
        ------
        RuntimeError
            If no training forward came before.
        """

    def named_parameters(self) -> dict[str, Parameter]:
        """Return the trainable arrays under PyTorch's names."""
        return {}

    def named_buffers(self) -> dict[str, AnyArray]:
        """Return the arrays that training changes but no gradient does, under PyTorch's names."""
        return {}

    def named_generators(self) -> dict[str, np.random.Generator]:
        """Return the sources of randomness that training draws from, by name."""
        return {}

    def parameters(self) -> list[Parameter]:
        """Return the trainable arrays."""
        return list(self.named_parameters().values())

    def arrays(self) -> dict[str, AnyArray]:
        """Return all state, the arrays themselves, in PyTorch's order."""
        weights = {name: parameter.data for name, parameter in self.named_parameters().items()}
        return weights | self.named_buffers()

    def state_dict(self) -> dict[str, AnyArray]:
        """Return C-contiguous copies of all state, under the names PyTorch gives it."""
        return {name: array.copy(order="C") for name, array in self.arrays().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the values of a :meth:`state_dict` into this layer, in its own dtype.

        Parameters
        ----------
        state : mapping of names to arrays
            Exactly the names and shapes of :meth:`state_dict`; float32 and float64 fit either.

        Raises
        ------
        ValueError
            If a name is missing or unexpected, or a shape or dtype does not fit. Nothing has been
            written then.
        """
        arrays = self.arrays()
        for name, value in fitted(arrays, state).items():
            arrays[name][...] = value


class Saved(Generic[T]):
    """What a layer's last training forward kept for its backward, handed out once."""

    __slots__ = ("_layer", "_values")

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._values: list[T] = []

    def keep(self, value: T) -> None:
        """Keep a value in place of an earlier one."""
        self._values = [value]

    def take(self) -> T:
        """Return the value and let go of it.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        if not self._values:
            raise RuntimeError(
                f"{self._layer}.backward needs a forward(x, training=True) before it, "
                "and each one serves one backward"
            )
        return self._values.pop()
