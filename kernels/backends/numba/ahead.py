"""A second process that compiles ahead, where no code was compiled for this machine before.

The first training step then takes a good half of the time: while this process compiles what it
comes upon, the other one begins with what it will come upon last. They meet in the folder where
compiled code is kept, which makes sure that each finds only whole files; at worst both compile the
same task once. ``CNN_KERNELS_COMPILE_AHEAD=0`` switches it off.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from kernels.backends.numba.cache import cache_folder, can_keep, kept_code
from kernels.threads import largest

VARIABLE = "CNN_KERNELS_COMPILE_AHEAD"

_TASKS = {
    "loss": ("CROSS_ENTROPY",),
    "maxima": ("READ_MAXIMA",),
    "dense": ("BACKWARD", "FORWARD"),
    "packing": ("UNPACK",),
    "normalization_tasks": (
        *("MOMENTS", "MERGED_MOMENTS", "AFFINE_TABLE", "NORMALIZE"),
        *("GRADIENT_TABLE", "GRADIENT_SUMS", "MASKED_SUMS", "MERGED_SUMS", "COMBINE"),
    ),
    "pooled_joining": ("BAND_SUMS",),
    "activation": ("GATE",),
    "joining": ("READ",),
    "updating": ("ADD_SCALED",),
    "turning": ("TURN",),
    "accumulating": ("ACCUMULATE",),
    "gathering": ("GATHER",),
}
"""What a training step needs: by module, those that take long or are needed late before others."""


@functools.cache
def start(dtype: np.dtype[Any]) -> None:
    """Start the second process, once, if there is a CPU for it and nothing was compiled yet."""
    if os.environ.get(VARIABLE) == "0" or largest() == 1 or not _has_interpreter():
        return
    if kept_code() or not can_keep():
        return
    root, paths = Path(__file__).parents[3], os.environ.get("PYTHONPATH", "")
    settings = {
        VARIABLE: "0",
        "NUMBA_CACHE_DIR": str(cache_folder().parent),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), paths])),
    }
    with contextlib.suppress(OSError):  # then this process compiles all by itself
        _processes.append(
            subprocess.Popen(
                [sys.executable, "-m", __name__, dtype.name],
                env=os.environ | settings,
                stdin=subprocess.PIPE,  # is closed when this process ends, however it does
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


_processes: list[subprocess.Popen[bytes]] = []


def _has_interpreter() -> bool:
    """Tell whether Python can be started again: in a frozen application it would start that."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def _compile(dtype: np.dtype[Any]) -> None:
    for module_name, names in _TASKS.items():
        module = importlib.import_module(f"kernels.backends.numba.{module_name}")
        for name in names:
            getattr(module, name).address(dtype)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _compile(np.dtype(sys.argv[1]))
    os._exit(0)
