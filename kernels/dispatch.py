"""Which backends there are, and which one a call means.

A backend is chosen by, in this order: the ``backend=`` argument, :func:`use_backend`,
:func:`set_backend`, the environment variable ``CNN_KERNELS_BACKEND``, ``"numba"``. It is loaded
when first used, and nothing falls back to another one. Besides those of this package there are
those that :func:`register_backend` was given and those that installed packages offer in the
entry-point group ``cnn_kernels.backends``.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import cast

from kernels.backends import contract
from kernels.backends.contract import Backend
from kernels.errors import UnknownBackendError

ENVIRONMENT_VARIABLE = "CNN_KERNELS_BACKEND"
DEFAULT_BACKEND = "numba"

ENTRY_POINTS = "cnn_kernels.backends"

_BUILT_IN = ("naive", "numpy", "numba")
_loaded: dict[str, Backend] = {}  # of those built in
_registered: dict[str, Backend] = {}
_process_default: str | None = None
_in_context: ContextVar[str | None] = ContextVar("cnn_kernels_backend", default=None)


def available_backends() -> tuple[str, ...]:
    """Names that ``backend=`` takes."""
    return tuple(dict.fromkeys((*_BUILT_IN, *_registered, *_offered())))


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
    name = os.environ.get(ENVIRONMENT_VARIABLE)
    return _known(name, f"environment variable {ENVIRONMENT_VARIABLE}") if name else DEFAULT_BACKEND


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


def register_backend(name: str, module: object) -> None:
    """Make a third party's backend available in this process.

    Parameters
    ----------
    name : str
        What ``backend=`` and the others shall call it; not a name that is taken.
    module : module
        With the functions of :class:`kernels.backends.contract.Backend`.

    Raises
    ------
    ValueError
        If another backend has the name.
    TypeError
        If the module lacks a function, or one has other parameters.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a string of 1 or more characters, got {name!r}")
    if name in _BUILT_IN or _registered.get(name, module) is not module:
        raise ValueError(f"name must not be that of another backend, got {name!r}")
    contract.check(name, module)
    _registered[name] = cast(Backend, module)


@contextmanager
def named(backend: str | ModuleType) -> Iterator[str]:
    """Yield the name of a backend given by name, or by module, then registered in the block."""
    if not isinstance(backend, ModuleType):
        yield _known(backend)
        return
    name = backend.__name__
    was_there = name in _registered
    register_backend(name, backend)
    try:
        yield name
    finally:
        if not was_there:
            del _registered[name]


def chosen_name(name: str | None) -> str:
    """Return the name of the backend that is meant: ``name``, or what :func:`get_backend` says."""
    return get_backend() if name is None else _known(name)


def resolve(name: str | None) -> Backend:
    """Return the backend that is meant by :func:`chosen_name`, loaded."""
    chosen = chosen_name(name)
    backend = _loaded.get(chosen) or _registered.get(chosen)
    if backend is None:
        backend = _load(chosen)
    return backend


def _load(name: str) -> Backend:
    if name in _BUILT_IN:
        module = importlib.import_module(f"kernels.backends.{name}")
        return _loaded.setdefault(name, cast(Backend, module))
    register_backend(name, _offered()[name].load())
    return _registered[name]


@functools.cache
def _offered() -> dict[str, EntryPoint]:
    """Return the backends of installed packages; a built-in name cannot be taken."""
    found = entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in found if point.name not in _BUILT_IN}


def _known(name: str, source: str = "backend") -> str:
    if not isinstance(name, str):
        raise TypeError(f"{source} must be a string, got {type(name).__name__}")
    if name not in _BUILT_IN and name not in _registered and name not in _offered():
        names = ", ".join(repr(n) for n in available_backends())
        raise UnknownBackendError(f"{source} must be one of {names}; got {name!r}")
    return name
