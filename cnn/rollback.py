"""A training step that fails leaves no trace in the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cnn.arrays import AnyArray
from cnn.layers import Layer


@contextmanager
def restored(arrays: Iterable[AnyArray]) -> Iterator[None]:
    """Give arrays the values that they had if an exception comes through."""
    before = [(array, array.copy()) for array in arrays]
    try:
        yield
    except BaseException:
        for array, old in before:
            array[...] = old
        raise


@contextmanager
def rolled_back(model: Layer) -> Iterator[None]:
    """Undo what happened to running statistics and generators if an exception comes through.

    Parameters need no undoing: whoever changes them does so last, or undoes it.
    """
    generators = [each.bit_generator for each in model.named_generators().values()]
    states = [generator.state for generator in generators]
    try:
        with restored(model.named_buffers().values()):
            yield
    except BaseException:
        for generator, state in zip(generators, states, strict=True):
            generator.state = state
        raise
