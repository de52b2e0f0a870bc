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
from cnn.fusion.memory import Block, Shape
from cnn.fusion.program import Program, structure
from cnn.layers import Layer, Sequential
from kernels import fused

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
        now = structure(self._model)
        if now != self._structure:
            self._programs.clear()
            self._structure = now
        key = (kernels.get_backend(), dtype, shape)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._planned(shape)
            if len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def _planned(self, shape: Shape) -> Program:
        program = Program(self._model, shape, training=self._training, last=self._last)
        if not self._block.holds(program.size):
            self._programs.clear()  # they hold on to the smaller block
            self._block.grow(program.size)
        program.bind(self._block)
        return program


def fuses(model: Sequential, wanted: bool | None) -> bool:
    """Whether a model is to run as fused stages on the current backend.

    Parameters
    ----------
    model : Sequential
        One of a subclass runs by itself: it may have passes of its own.
    wanted : bool or None
        True: if the backend has fused operations. None: if it gains by them. False: no.
    """
    if wanted is False or type(model) is not Sequential:
        return False
    return fused.offered() if wanted else fused.gains()
