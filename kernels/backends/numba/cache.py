"""Compiled code on disk: a file with a checksum for each driver and signature.

Numba's own cache raises an error on a truncated file and runs a damaged one; two processes that
fill it at once can give a function another one's code, since an index and the numbered files that
it names are written one after the other; and its key does not see changes in called functions.
Here a file's name says whose code it holds, a damaged file counts as none, and the folder's name
is a hash of all that compilation depends on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import llvmlite
import numba
import platformdirs
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from kernels.backends.numba.addresses import DATA
from kernels.backends.numba.cpu import codegen_target

FOLDER_PREFIX = "kernels-numba-"
SUFFIX = ".jit"
DAYS_UNUSED = 60
"""After so long a folder of other sources, versions or CPUs is removed."""

_CHECKSUM_BYTES = hashlib.sha256().digest_size
_log = logging.getLogger("kernels")


class CheckedCache(NullCache):
    """Where one driver's compiled code is kept; what Numba's dispatcher takes as its cache."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def cache_path(self) -> str:
        """The folder, which all drivers share."""
        return str(cache_folder())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature, None if there is none that is whole."""
        _mark_as_used()
        content = _read(self._path(sig))
        if content is not None:
            saved_sig, code = pickle.loads(content)
            if saved_sig == sig:
                rtsys.initialize(target_context)  # refresh() imports SciPy as well: 0.15 s
                return CompileResult._rebuild(target_context, *code)
        _announce_compilation()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code; where that cannot be done, say so once."""
        if data.library.has_dynamic_globals:  # addresses, which only this process has
            return
        path = self._path(sig)
        try:
            _write(path, dumps((sig, data._reduce())))
        except OSError as error:
            _warn_that_nothing_is_kept(path.parent, error.strerror or str(error))

    def _path(self, sig: Any) -> Path:
        digest = hashlib.sha256(str(sig).encode()).hexdigest()
        return cache_folder() / f"{self._name}-{digest[:16]}{SUFFIX}"


@functools.cache
def cache_folder() -> Path:
    """Where compiled code is kept: below NUMBA_CACHE_DIR if set, else in the user's cache."""
    versions = sys.version_info[:2], numba.__version__, llvmlite.__version__, codegen_target(), DATA
    digest = hashlib.sha256(repr(versions).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = numba.config.CACHE_DIR or platformdirs.user_cache_dir("cnn-kernels", appauthor=False)
    return Path(base) / f"{FOLDER_PREFIX}{digest.hexdigest()[:16]}"


def kept_code() -> list[Path]:
    """Return the files in the folder: one for each driver and types of its arguments."""
    return sorted(cache_folder().glob(f"*{SUFFIX}"))


def can_keep() -> bool:
    """Tell whether the folder, or one that it would be made in, can be written."""
    folder = cache_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _read(path: Path) -> bytes | None:
    """Return what :func:`_write` was given, None if the file is not there whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, payload = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() == checksum:
        return payload
    _log.warning("compiled code in %s is damaged: it is compiled anew", path)
    return None


def _write(path: Path, payload: bytes) -> None:
    """Write a file aside and rename it: other processes see all of it or nothing."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_unused(path.parent.parent)
    temporary = path.with_suffix(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@functools.cache
def _mark_as_used() -> None:
    with contextlib.suppress(OSError):
        os.utime(cache_folder())


def _remove_unused(base: Path) -> None:
    """Remove folders that no process has used for long; one that still runs makes its own anew."""
    limit = time.time() - DAYS_UNUSED * 24 * 3600
    for folder in base.glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder)


@functools.cache
def _announce_compilation() -> None:
    """Say once why the first call takes long, if no compiled code is there."""
    if not kept_code():
        _log.info(
            "compiling the numba backend for this CPU (takes under a minute, once); the code is "
            "kept in %s",
            cache_folder(),
        )


@functools.cache
def _warn_that_nothing_is_kept(folder: Path, reason: str) -> None:
    _log.warning(
        "compiled code cannot be kept in %s (%s): it is compiled anew each time; "
        "NUMBA_CACHE_DIR names another folder",
        folder,
        reason,
    )
