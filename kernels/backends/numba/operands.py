"""What a loop nest does to values while it loads them, and to results before it leaves them.

The tasks find each as a few entries of their table: None, which is 0 there, stands for what there
is not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.memory import flat_input, in_one_piece
from kernels.backends.numba.plan_tables import POOL, records
from kernels.geometry import PoolGeometry
from kernels.lazy import Pull, Read


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a source is loaded; see ``loading``. Arrays are flat."""

    norm: FloatArray | None = None
    relu: bool = False
    pulled: FloatArray | None = None
    pull: FloatArray | None = None
    taken: NDArray[np.uint8] | None = None
    pool: NDArray[Any] | None = None

    @property
    def plain(self) -> bool:
        """Whether values are loaded as they are."""
        return not self.relu and all(array is None for array in (self.norm, self.pulled, self.pool))

    def entries(self, source: FloatArray) -> tuple[Any, ...]:
        """Return a table's entries from X on, LOAD of them."""
        return (
            *(source, *counted(self.norm), self.relu, self.pulled, *counted(self.pull)),
            *(self.taken, *counted(self.pool)),
        )


@functools.lru_cache(maxsize=512)
def pool_record(pool: PoolGeometry) -> NDArray[Any]:
    """Return what tasks read of a pooling."""
    height, width = pool.height, pool.width
    pairs = [
        (axis.outputs, axis.kernel, axis.stride, axis.dilation, axis.before)
        for axis in (height, width)
    ]
    return records(np.array([tuple(np.array(pairs).T.reshape(-1))], POOL))


class Pooling(NamedTuple):
    """How results are pooled; see ``winners``. Arrays are flat."""

    pool: PoolGeometry
    values: FloatArray
    position: NDArray[np.uint8] | None
    weight: FloatArray | None

    def entries(self) -> tuple[Any, ...]:
        """Return a table's entries from POOLING to ORDERED."""
        position = self.position, self.position is not None
        return (pool_record(self.pool), self.values, *position, *counted(self.weight))


@dataclass(frozen=True, slots=True)
class Finished:
    """What happens to results; see ``finishing``. Arrays are flat, but for the sums.

    ``slots`` is (tasks, 3, C) for moments, (tasks, 2, C) for sums; ``moments``, (2, C), is given
    mean and variance. A :class:`Pooling` has entries of its own.
    """

    added: FloatArray | None = None
    masked: FloatArray | None = None
    mask: FloatArray | None = None
    mask_relu: bool = False
    moments: NDArray[np.float64] | None = None
    slots: NDArray[np.float64] | None = None
    pooling: Pooling | None = None

    def entries(self, target: FloatArray | None) -> tuple[Any, ...]:
        """Return a table's entries from TARGET to MOMENTS."""
        return (
            *(target, *counted(self.added), self.masked, *counted(self.mask)),
            *(self.mask_relu, self.moments is not None),
        )


def counted(array: NDArray[Any] | None) -> tuple[NDArray[Any] | None, int]:
    """Return an array, and how many elements there are."""
    return array, 0 if array is None else len(array)


PLAIN = Loaded()
UNTOUCHED = Finished()


def loaded_read(read: Read) -> Loaded:
    """Return how a read is loaded."""
    return Loaded(norm=norm_of(read), relu=read.relu)


def norm_of(read: Read) -> FloatArray | None:
    """Return a read's numbers for each channel one after the other, None if it has none."""
    if read.mean is None or read.scale is None or read.shift is None:
        return None
    return in_one_piece((read.mean, read.scale, read.shift))


def loaded_pull(pull: Pull) -> Loaded:
    """Return how a pull is loaded."""
    coefficients = None
    if pull.x is not None:
        parts: Any = (pull.mean, pull.a, pull.b, pull.c)
        coefficients = in_one_piece(parts)
    return Loaded(
        pulled=None if pull.x is None else flat_input(pull.x),
        pull=coefficients,
        taken=None if pull.position is None else flat_input(pull.position),
        pool=None if pull.pool is None else pool_record(pull.pool),
    )
