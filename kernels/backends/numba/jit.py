"""How the backend's functions are compiled, and where the machine code is kept.

Two decorators: ``serial`` for bodies that other jitted functions call, ``parallel`` for the thin
``prange`` drivers that Python calls. Drivers are cached on disk in a folder whose name is a hash
of this backend's sources, because Numba's own key does not see changes in called functions.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import platformdirs

from kernels.backends.numba import threads
from kernels.backends.numba.cpu import codegen_target

FLAGS: dict[str, Any] = {
    # Nothing that lets LLVM choose at run time between ways of adding up: with "reassoc" a row's
    # softmax came out with other bits in 522 of 30,000 calls. No "nnan" or "ninf": NaN comes
    # through.
    "fastmath": {"contract"},
    "error_model": "numpy",
    "nogil": True,
}
PRANGE_ONLY = {
    # parallel=True would parallelise sums too, whose bits then depend on the number of threads.
    "prange": True,
    "comprehension": False,
    "fusion": False,
    "inplace_binop": False,
    "numpy": False,
    "reduction": False,
    "setitem": False,
    "stencil": False,
}

serial = numba.njit(**FLAGS)

_decorating = threading.Lock()
_log = logging.getLogger("kernels")


def parallel(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a ``prange`` driver, with a serial twin for processes forked after threads ran."""
    threaded = _cached("parallel", function, parallel=PRANGE_ONLY)
    single = _cached("serial", function)

    @functools.wraps(function)
    def driver(*arguments: Any) -> None:
        _announce_compilation()
        if threads.forked():
            single(*arguments)
        else:
            with threads.running():
                threaded(*arguments)

    return driver


@functools.cache
def cache_folder() -> Path:
    """Where compiled code is kept: below NUMBA_CACHE_DIR if set, else in the user's cache."""
    digest = hashlib.sha256(repr((numba.__version__, codegen_target())).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = numba.config.CACHE_DIR or platformdirs.user_cache_dir("cnn-kernels", appauthor=False)
    return Path(base) / f"kernels-numba-{digest.hexdigest()[:16]}"


@functools.cache
def _announce_compilation() -> None:
    """Say once, before the first call, why it will take long if no compiled code is there."""
    if _cache_is_writable() and not any(cache_folder().glob("**/*.nbi")):
        _log.info(
            "compiling the numba backend for this CPU (takes under a minute, once); the code is "
            "kept in %s",
            cache_folder(),
        )


@functools.cache
def _cache_is_writable() -> bool:
    """Make the cache folder; without one, every process compiles for itself."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()):
            return True
    except OSError as error:
        _log.warning(
            "compiled code cannot be kept in %s (%s): it is compiled anew each time; "
            "NUMBA_CACHE_DIR names another folder",
            cache_folder(),
            error.strerror,
        )
        return False


def _cached(variant: str, function: Callable[..., None], **flags: Any) -> Callable[..., None]:
    # The two variants need folders of their own: Numba's key does not hold the flags either.
    if not _cache_is_writable():
        return numba.njit(**FLAGS, **flags)(function)
    with _decorating:
        users_folder = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(cache_folder() / variant)
        try:
            return numba.njit(cache=True, **FLAGS, **flags)(function)
        finally:
            numba.config.CACHE_DIR = users_folder
