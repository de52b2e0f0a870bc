"""Matrix products, with no more BLAS threads than ``kernels.set_num_threads`` allows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from kernels import threads
from kernels.backends.contract import FloatArray


def matmul(a: FloatArray, b: FloatArray) -> Any:
    """Return ``a @ b``."""
    limit = threads.limit()
    if limit is None:
        return np.matmul(a, b)
    with _blas().limit(limits=limit):
        return np.matmul(a, b)


@functools.cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")
