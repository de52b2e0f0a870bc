"""Memory of a program: what lives when is known beforehand, so buffers share one block.

A buffer lives from the first to the last of the moments at which it is used. Buffers whose lives
overlap are laid side by side, others over each other; large ones are placed first, each as low as
it fits (Pisarchyk & Lee, "Efficient memory management for deep neural net inference",
arXiv:2001.03288, section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cnn.arrays import AnyArray

ALIGNMENT = 64
"""Bytes: a cache line and the widest vector."""

Shape = tuple[int, ...]


class Buffer:
    """An array that a program uses: a part of its block, or one that is given to it as it runs.

    Attributes
    ----------
    array : array
        What is there to read and write. Of a planned buffer, a view of the block.
    shape, dtype
        Of the array.
    planned : bool
        Whether it is a part of the block.
    in_order : bool
        Whether the memory order is that of the axes, not the backend's favourite.
    exclusive : bool
        Whether the stage that writes it is its only owner, so that another may add to it.
    base : Buffer or None
        The buffer whose memory the array may be a view of: it lives as long.
    """

    __slots__ = (
        "array",
        "base",
        "dtype",
        "exclusive",
        "first",
        "in_order",
        "last",
        "offset",
        "planned",
        "shape",
    )

    def __init__(
        self,
        shape: Shape,
        dtype: np.dtype[Any],
        *,
        planned: bool = True,
        in_order: bool = False,
        exclusive: bool = False,
        base: Buffer | None = None,
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self.planned, self.in_order, self.base = planned, in_order, base
        self.exclusive = exclusive
        self.array: AnyArray
        self.first, self.last = math.inf, -math.inf
        self.offset = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the block."""
        size = math.prod(self.shape) * self.dtype.itemsize
        return -(-size // ALIGNMENT) * ALIGNMENT

    def use(self, moment: int) -> None:
        """Keep the buffer alive at a moment."""
        self.first, self.last = min(self.first, moment), max(self.last, moment)
        if self.base is not None:
            self.base.use(moment)


def place(buffers: Iterable[Buffer]) -> int:
    """Give each planned buffer its offset; return the size of the block."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.nbytes, b.first)):
        offset = 0
        for other in sorted(placed, key=lambda b: b.offset):
            apart = buffer.last < other.first or other.last < buffer.first
            if not apart and offset + buffer.nbytes > other.offset:
                offset = max(offset, other.offset + other.nbytes)
        buffer.offset = offset
        placed.append(buffer)
    return max((b.offset + b.nbytes for b in placed), default=0)


class Block:
    """Aligned memory that programs of several batch shapes take turns in; it only grows."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    @property
    def nbytes(self) -> int:
        """Its size."""
        return self._bytes.size

    def holds(self, size: int) -> bool:
        """Whether so many bytes fit."""
        return size <= self._bytes.size

    def grow(self, size: int) -> None:
        """Take new memory; views of the old one stay as they are, but share nothing with it."""
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self._bytes = raw[start : start + size]

    def view(self, buffer: Buffer, order: tuple[int, ...]) -> AnyArray:
        """Return a buffer's array, its axes in memory in the order given, outermost first."""
        count = math.prod(buffer.shape)
        end = buffer.offset + count * buffer.dtype.itemsize
        flat = self._bytes[buffer.offset : end].view(buffer.dtype)
        laid_out = flat.reshape([buffer.shape[axis] for axis in order])
        return laid_out.transpose(np.argsort(order))
