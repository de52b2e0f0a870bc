"""The programs of a model: one for each batch shape, in one block of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.changes import latest
from cnn.fusion.memory import Block, Shape
from cnn.fusion.program import Program, lists_of_layers, structure
from cnn.layers import Layer, Sequential

MOST_PROGRAMS = 8
"""Batch shapes that are kept ready: the one most used, the smaller last one, and some to spare."""


class Programs:
    """What runs a model's batches on the current backend; one batch at a time.

    Parameters
    ----------
    model : Sequential
        What to run.
    training : bool
        Whether backward passes follow.
    last : tuple of Layer
        What follows the model's layers.
    """

    def __init__(self, model: Sequential, *, training: bool, last: tuple[Layer, ...] = ()) -> None:
        self._model, self._training, self._last = model, training, last
        self._block = Block()
        self._programs: OrderedDict[tuple[object, ...], Program] = OrderedDict()
        self._structure: list[object] = []
        self._lists: list[list[Layer]] = []
        self._in_lists: list[list[Layer]] = []
        self._looked = 0
        self._busy = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return self._block.nbytes

    @contextmanager
    def running(self, x: FloatArray) -> Iterator[Program]:
        """Lend the program for a batch, for one run.

        ``x`` is what the model's ``as_input`` returns.

        Raises
        ------
        RuntimeError
            If another run has not ended yet: in another thread, or in a layer of this one.
        kernels.ShapeError, TypeError
            If such a batch does not fit the model.
        """
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "the model is computing another batch, in another thread or in one of its own "
                "layers; give each thread a copy of the model and a trainer of its own"
            )
        try:
            yield self.program(x.shape, x.dtype)
        finally:
            self._busy.release()

    def image_bytes(self, shape: Shape, dtype: np.dtype[Any]) -> int:
        """Return how large the block for one image of a batch is."""
        return self.program((1, *shape[1:]), dtype).size

    def __reduce__(self) -> tuple[Any, tuple[Sequential]]:
        """Let copies and pickles, those of a trainer say, start with no programs."""
        return partial(Programs, training=self._training, last=self._last), (self._model,)

    def program(self, shape: Shape, dtype: np.dtype[Any]) -> Program:
        """Return the program for a batch shape, to one that runs nothing else meanwhile.

        ``dtype`` is the batch's.

        Raises
        ------
        kernels.ShapeError, TypeError
            If such a batch does not fit the model.
        """
        change = latest()
        if change != self._looked or self._lists != self._in_lists:
            self._look()
            self._looked = change
        key = (kernels.get_backend(), dtype, shape)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._planned(shape)
            if len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def _look(self) -> None:
        """Let go of the programs if the model's layers or their windows are others now."""
        now = structure(self._model)
        if now != self._structure:
            self._programs.clear()
            self._structure = now
        self._lists = lists_of_layers(self._model)
        self._in_lists = list(map(list, self._lists))

    def _planned(self, shape: Shape) -> Program:
        program = Program(self._model, shape, training=self._training, last=self._last)
        if not self._block.holds(program.size):
            self._programs.clear()  # they hold on to the smaller block
            self._block.grow(program.size)
        program.bind(self._block)
        return program
