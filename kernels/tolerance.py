"""How far a backend may be from the naive reference."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray

FACTOR = 4.0
"""The one number that the comparisons rest on."""


def bound(magnitude: FloatArray, length: int) -> NDArray[np.float64]:
    """Return the largest error allowed, element by element: ``4 · eps · sqrt(K) · S``.

    Rounding errors of a sum of K terms grow like a random walk, in proportion to the sum S of the
    terms' absolute values (Higham, "Accuracy and Stability of Numerical Algorithms", section 4.2).

    Parameters
    ----------
    magnitude : array
        S, in the dtype under test: the operation done on absolute values.
    length : int
        K, the terms of each sum.
    """
    eps = float(np.finfo(magnitude.dtype).eps)
    return FACTOR * eps * math.sqrt(max(1, length)) * np.abs(magnitude.astype(np.float64))
