"""Array types, and the two element types that models come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
AnyArray = NDArray[Any]
IntPair = int | tuple[int, int]
Padding = IntPair | tuple[tuple[int, int], tuple[int, int]] | str

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype, once it is known to be float32 or float64.

    Raises
    ------
    TypeError
        If it is another one, or none.
    """
    try:
        chosen = np.dtype(dtype)
    except TypeError:
        chosen = np.dtype(object)
    if dtype is None or chosen not in FLOAT_DTYPES:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
    return chosen
