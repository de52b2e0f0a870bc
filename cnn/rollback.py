"""A training step that fails leaves no trace in the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cnn.arrays import AnyArray
from cnn.layers import Layer


class Restored:
    """Gives arrays the values that they had if an exception comes through; for ``with``.

    Made by hand: each step needs one, and a generator takes 4 µs longer when its code comes from
    memory, as it does after each step's computing.
    """

    __slots__ = ("_before",)

    def __init__(self, arrays: Iterable[AnyArray]) -> None:
        self._before = [(array, array.copy()) for array in arrays]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            for array, old in self._before:
                array[...] = old


class RolledBack(Restored):
    """Undoes what happened to layers' running statistics and generators, likewise.

    Parameters need no undoing: whoever changes them does so last, or undoes it.
    """

    __slots__ = ("_states",)

    def __init__(self, layers: Iterable[Layer]) -> None:
        buffers: list[AnyArray] = []
        self._states: list[tuple[Any, Any]] = []
        for layer in layers:
            buffers += layer.named_buffers().values()
            for generator in layer.named_generators().values():
                bits = generator.bit_generator
                self._states.append((bits, bits.state))
        super().__init__(buffers)

    def __exit__(self, kind: object, *more: object) -> None:
        super().__exit__(kind, *more)
        if kind is not None:
            for bits, state in self._states:
                bits.state = state


def has_state(layer: Layer) -> bool:
    """Tell whether a layer may have anything to undo."""
    cls = type(layer)
    nothing = Layer.named_buffers, Layer.named_generators
    return (cls.named_buffers, cls.named_generators) != nothing
