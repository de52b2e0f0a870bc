"""How arrays lie in memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def memory_order(array: NDArray[Any]) -> tuple[int, ...]:
    """Return an array's axes as they lie in memory, outermost first."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def is_dense(array: NDArray[Any]) -> bool:
    """Tell whether an array has no gaps, and no element twice."""
    return bool(array.transpose(memory_order(array)).flags.c_contiguous)
