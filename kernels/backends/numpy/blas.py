"""Matrix products, with no more BLAS threads than ``kernels.set_num_threads`` allows."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from kernels import threads
from kernels.backends.contract import FloatArray


def matmul(a: FloatArray, b: FloatArray) -> Any:
    """Return ``a @ b``."""
    with _limited(threads.limit()):
        return np.matmul(a, b)


class _Limiter:
    """Limits BLAS's threads while calls are running, and leaves them as they were.

    Their number belongs to the whole process: the first of several concurrent calls sets it, the
    last one sets it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._restore = ExitStack()

    @contextmanager
    def __call__(self, limit: int | None) -> Iterator[None]:
        if limit is None:
            yield
            return
        with self._lock:
            if not self._users:
                self._restore.enter_context(_blas().limit(limits=limit))
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._restore.close()


_limited = _Limiter()


@functools.cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")
