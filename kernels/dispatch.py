"""Which backends there are, and which one a call means.

A backend is chosen by, in this order: the ``backend=`` argument, :func:`use_backend`,
:func:`set_backend`, the environment variable ``CNN_KERNELS_BACKEND``, ``"numba"``. It is loaded
when first used, and nothing falls back to another one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from kernels.backends.contract import Backend
from kernels.errors import UnknownBackendError

ENVIRONMENT_VARIABLE = "CNN_KERNELS_BACKEND"
DEFAULT_BACKEND = "numba"

_MODULES = {name: f"kernels.backends.{name}" for name in ("naive", "numpy", "numba")}
_process_default: str | None = None
_in_context: ContextVar[str | None] = ContextVar("cnn_kernels_backend", default=None)


def available_backends() -> tuple[str, ...]:
    """Names that ``backend=`` takes."""
    return tuple(_MODULES)


def get_backend() -> str:
    """Name of the backend that a call without ``backend=`` would use here and now.

    Raises
    ------
    UnknownBackendError
        If ``CNN_KERNELS_BACKEND`` decides it and names no backend.
    """
    chosen = _in_context.get() or _process_default
    if chosen:
        return chosen
    name = os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_BACKEND
    return _known(name, f"environment variable {ENVIRONMENT_VARIABLE}")


def set_backend(name: str) -> None:
    """Set the default backend of the whole process.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name.
    """
    global _process_default
    _process_default = _known(name)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use a backend inside a ``with`` block, in this context only (``contextvars``).

    Threads started inside do not inherit it.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name.
    """
    token = _in_context.set(_known(name))
    try:
        yield
    finally:
        _in_context.reset(token)


def resolve(name: str | None) -> Backend:
    """Return the backend that is meant: ``name``, or without one what :func:`get_backend` says."""
    chosen = get_backend() if name is None else _known(name)
    return cast(Backend, importlib.import_module(_MODULES[chosen]))


def _known(name: str, source: str = "backend") -> str:
    if not isinstance(name, str):
        raise TypeError(f"{source} must be a string, got {type(name).__name__}")
    if name not in _MODULES:
        names = ", ".join(repr(n) for n in available_backends())
        raise UnknownBackendError(f"{source} must be one of {names}; got {name!r}")
    return name
