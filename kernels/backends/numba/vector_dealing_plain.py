"""The intrinsics of ``vector_dealing`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray

Vectors = tuple[FloatArray, ...]


def dealt(vectors: Vectors) -> Vectors:
    """Return as many vectors: lane i of the r-th is element i · len(vectors) + r of all lanes."""
    return tuple(np.concatenate(vectors).reshape(-1, len(vectors)).T.copy())


def gathered(vectors: Vectors) -> Vectors:
    """Return what :func:`dealt` made these vectors of."""
    return tuple(np.stack(vectors, axis=-1).reshape(len(vectors), -1))
