"""A training step that fails leaves no trace in the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cnn.layers import Layer


@contextmanager
def rolled_back(model: Layer) -> Iterator[None]:
    """Undo what happened to running statistics and generators if an exception comes through.

    Parameters need no undoing: the optimiser changes them last, or in kernels that do not fail.
    """
    buffers = model.named_buffers().values()
    generators = [each.bit_generator for each in model.named_generators().values()]
    before = [buffer.copy() for buffer in buffers]
    states = [generator.state for generator in generators]
    try:
        yield
    except BaseException:
        for buffer, old in zip(buffers, before, strict=True):
            buffer[...] = old
        for generator, state in zip(generators, states, strict=True):
            generator.state = state
        raise
