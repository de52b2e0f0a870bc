"""Matrix products, with no more BLAS threads than ``kernels.set_num_threads`` allows."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from kernels import threads
from kernels.backends.contract import FloatArray

_one_at_a_time = threading.Lock()


def matmul(a: FloatArray, b: FloatArray) -> Any:
    """Return ``a @ b``.

    BLAS's number of threads belongs to the whole process. While it is limited, callers from
    several Python threads take turns, so that each finds and leaves it as it was.
    """
    limit = threads.limit()
    if limit is None:
        return np.matmul(a, b)
    with _one_at_a_time, _blas().limit(limits=limit):
        return np.matmul(a, b)


@functools.cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")
