"""Loads and stores that are whole vectors where they can be: masked ones cost more."""

from __future__ import annotations

from kernels.backends.numba.jit import inlined
from kernels.backends.numba.vector import lanes, load, load_first, store, store_first


@inlined
def load_valid(array, index, valid):
    """``array[index : index + valid]`` in the first lanes, 0 in the others."""
    if valid == lanes(array):
        return load(array, index)
    return load_first(array, index, valid)


@inlined
def store_valid(array, index, vector, valid):
    """``array[index : index + valid] = vector[:valid]``."""
    if valid == lanes(array):
        store(array, index, vector)
    else:
        store_first(array, index, vector, valid)
