"""The programs of a model: one for each batch shape, in one block of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import kernels
from cnn.arrays import FloatArray
from cnn.fusion.memory import Block, Shape
from cnn.fusion.program import Program, structure
from cnn.layers import Sequential
from kernels import fused

MOST_PROGRAMS = 8
"""Batch shapes that are kept ready: the one most used, the smaller last one, and some to spare."""

KEPT_BYTES = 16 * 2**20
"""The largest block that a model keeps between predictions: batch 1 needs no 100 KiB of it."""


class Programs:
    """What runs a model's batches on the current backend; one batch at a time.

    Parameters
    ----------
    model : Sequential
        What to run.
    training : bool
        Whether backward passes follow.
    """

    def __init__(self, model: Sequential, *, training: bool) -> None:
        self._model, self._training = model, training
        self._block = Block()
        self._programs: OrderedDict[tuple[object, ...], Program] = OrderedDict()
        self._structure: list[object] = []
        self._busy = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return self._block.nbytes

    @contextmanager
    def running(self, shape: Shape) -> Iterator[Program]:
        """Lend the program for a batch shape, for one run.

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
            yield self._program(shape)
        finally:
            self._busy.release()

    def outputs(self, x: FloatArray) -> FloatArray:
        """Return the model's outputs for a batch; they last until the next run."""
        if len(x) == 0:
            return self._model.forward(x, training=self._training)
        with self.running(x.shape) as program:
            return program.forward(x)

    def __reduce__(self) -> tuple[Any, tuple[Sequential]]:
        """Let copies and pickles, those of a trainer say, start with no programs."""
        return partial(Programs, training=self._training), (self._model,)

    def _program(self, shape: Shape) -> Program:
        now = structure(self._model)
        if now != self._structure:
            self._programs.clear()
            self._structure = now
        key = (kernels.get_backend(), self._model.dtype, shape)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._planned(shape)
            if len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def _planned(self, shape: Shape) -> Program:
        program = Program(self._model, shape, training=self._training)
        if not self._block.holds(program.size):
            self._programs.clear()  # they hold on to the smaller block
            self._block.grow(program.size)
        program.bind(self._block)
        return program


class Inference:
    """Programs for predictions: several threads may predict at once, each on its own memory.

    Copies of a model, and pickles, start with none.
    """

    def __init__(self) -> None:
        self._idle: list[Programs] = []

    @contextmanager
    def programs(self, model: Sequential) -> Iterator[Programs]:
        """Lend programs of a model to one thread."""
        try:
            programs = self._idle.pop()
        except IndexError:
            programs = Programs(model, training=False)
        yield programs
        if programs.nbytes <= KEPT_BYTES:
            self._idle.append(programs)

    def __deepcopy__(self, memo: object) -> Inference:
        return Inference()

    def __reduce__(self) -> tuple[type[Inference], tuple[()]]:
        return Inference, ()


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
