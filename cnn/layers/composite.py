"""Layers made of layers: their state is that of their parts, under joined names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from cnn.arrays import AnyArray
from cnn.layers.base import Layer
from cnn.parameter import Parameter

T = TypeVar("T")


class Composite(Layer):
    """A layer whose parameters, buffers and generators are those of the layers inside it."""

    @abstractmethod
    def named_children(self) -> dict[str, Layer]:
        """Return the layers inside, under the names PyTorch gives such submodules."""

    def parameters(self) -> list[Parameter]:
        """Return all parts' trainable arrays."""
        return [p for layer in self.named_children().values() for p in layer.parameters()]

    def named_parameters(self) -> dict[str, Parameter]:
        """Return all parts' parameters, named ``"<part>.<name>"``."""
        return self._joined(lambda layer: layer.named_parameters())

    def named_buffers(self) -> dict[str, AnyArray]:
        """Return all parts' buffers, named ``"<part>.<name>"``."""
        return self._joined(lambda layer: layer.named_buffers())

    def named_generators(self) -> dict[str, np.random.Generator]:
        """Return all parts' generators, named ``"<part>.<name>"``."""
        return self._joined(lambda layer: layer.named_generators())

    def arrays(self) -> dict[str, AnyArray]:
        """Return all state, the arrays themselves, part by part as in PyTorch."""
        return self._joined(lambda layer: layer.arrays())

    def _joined(self, of: Callable[[Layer], Mapping[str, T]]) -> dict[str, T]:
        return {
            f"{child}.{name}": value
            for child, layer in self.named_children().items()
            for name, value in of(layer).items()
        }
