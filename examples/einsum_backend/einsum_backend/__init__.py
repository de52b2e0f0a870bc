"""An example backend: NumPy's, with linear layers by ``numpy.einsum``.

A backend is a module with the functions of ``kernels.backends.contract.Backend``. It need not be
fast, or written in Python: the functions could call a compiled library.
"""

from einsum_backend.dense import linear, linear_backward
from kernels.backends import numpy as numpy_backend

__all__ = ["linear", "linear_backward"]


def __getattr__(name: str) -> object:
    """Take every other operation from the numpy backend."""
    return getattr(numpy_backend, name)
