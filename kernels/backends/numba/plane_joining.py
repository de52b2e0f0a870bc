"""Joins of one value in planes, (N, C, ...): each band is turned over while it is in cache.

A linear layer behind a flattening wants that order. Where tasks turn their bands, no pass over
memory does it before or after them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.calls import ENTRIES, LOAD, MOMENTS, SLOTS, TARGET, doubles_at
from kernels.backends.numba.finishing import finish_gradient
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import read_pixels
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.operands import Finished, loaded_read, norm_of
from kernels.backends.numba.plan import lanes_of
from kernels.backends.numba.reduction import added_up
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.turning import turn_part
from kernels.backends.numba.vector import at_address
from kernels.backends.numba.workspace import Borrowed
from kernels.lazy import Read, Sums

PLANES, CHANNELS, PIXELS, BAND, BANDS = range(ENTRIES, ENTRIES + 5)
"""Entries behind those of a convolution."""

BAND_BYTES = 32768
"""What a task turns over: it stays in the L1 cache."""

SMALL = 32768
"""Elements up to which one thread does the work."""


class _Cut(NamedTuple):
    """Bands of pixels: the entries from CHANNELS on."""

    channels: int
    pixels: int
    band: int
    bands: int

    @classmethod
    def of(cls, planes: FloatArray) -> _Cut:
        """Cut each image into bands of much the same length."""
        _, C, *space = planes.shape
        pixels = math.prod(space)
        bands = max(1, -(-pixels * C * planes.itemsize // BAND_BYTES))
        band = max(1, -(-pixels // bands))
        return cls(C, pixels, band, -(-pixels // band))

    def phase(self, task: Task, planes: FloatArray) -> Phase:
        """Return what does a task for each band."""
        tasks = len(planes) * self.bands
        return Phase(task, tasks, tasks if planes.size > SMALL else 1)


def write_planes(read: Read, relu: bool, out: FloatArray) -> None:
    """Write what is read, after ReLU if it follows, into planes."""
    x, cut = flat_input(read.x), _Cut.of(out)
    entries: list[Any] = [0] * ENTRIES
    entries[:LOAD] = loaded_read(read._replace(relu=relu)).entries(x)
    entries += (out.reshape(-1), *cut)
    size = cut.band * cut.channels
    with Borrowed(size * threads.most(), x.dtype) as memory:
        run([cut.phase(READ_BAND, out)], entries, memory, size)


def mask_planes(grad_y: FloatArray, read: Read, out: FloatArray) -> Sums | None:
    """Write a gradient in planes to ``out`` where ReLU let the value through, and sum it."""
    x, norm, cut = flat_input(read.x), norm_of(read), _Cut.of(grad_y)
    phase, width = cut.phase(MASK_BAND, grad_y), lanes_of(x.dtype)
    slots = None if norm is None else np.empty((phase.times, 2, cut.channels))
    finished = Finished(masked=x, mask=norm, mask_relu=True)
    entries: list[Any] = [0] * ENTRIES
    with FlatOutput(out) as masked, Borrowed(width * threads.most(), x.dtype) as memory:
        entries[TARGET : MOMENTS + 1] = finished.entries(masked)
        entries[SLOTS] = slots
        entries += (grad_y.reshape(-1), *cut)
        run([phase], entries, memory, width)
    return None if slots is None else added_up(slots)


def _read_band(work, call, task):
    begin, first, pixels, C, size = _extent(call, task)
    read_pixels(work, 0, C, call, first + begin * C, pixels, C, 0, C)
    turn_part(work, 0, C, at_address(work, call[PLANES]), first + begin, size, pixels, C)


def _mask_band(work, call, task):
    begin, first, pixels, C, size = _extent(call, task)
    target, to = at_address(work, call[TARGET]), first + begin * C
    turn_part(at_address(work, call[PLANES]), first + begin, size, target, to, C, C, pixels)
    slots = doubles_at(call[SLOTS], 0)
    finish_gradient(target, to, pixels, C, 0, C, call, slots, 2 * task * C, work, 0)


@serial
def _extent(call, task):
    """Return a band's first pixel, its image's first element, both sizes and the channels."""
    C, size, band = call[CHANNELS], call[PIXELS], call[BAND]
    begin = task % call[BANDS] * band
    return begin, task // call[BANDS] * size * C, min(band, size - begin), C, size


READ_BAND, MASK_BAND = Task(_read_band), Task(_mask_band)
