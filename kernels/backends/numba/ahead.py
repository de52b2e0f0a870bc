"""A second process that compiles ahead, where no code was compiled for this machine before.

The first training step then takes a good half of the time: while this process compiles what it
comes upon, the other one begins with what it will come upon last. They meet in the folder where
compiled code is kept, which makes sure that each finds only whole files; at worst both compile the
same task once. ``CNN_KERNELS_COMPILE_AHEAD=0`` switches it off.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kernels.backends.numba.cache import cache_folder, can_keep, kept_code
from kernels.threads import largest

VARIABLE = "CNN_KERNELS_COMPILE_AHEAD"

NEEDED = (
    "updating.STEP_BLOCK",
    "unpacking.UNPACK",
    "plane_joining.MASK_BAND",
    "normalization_tasks.COMBINE",
    "channels.PULLBACK",
    "finishing.CLEAR_SLOTS",
    "reduction.ADD_UP",
    "normalization_tasks.MERGED_SUMS",
    "normalization_tasks.GRADIENT_SUMS",
    "normalization_tasks.GRADIENT_TABLE",
    "activation.GATE",
    "plane_joining.READ_BAND",
    "softmax_rows.CROSS_ENTROPY",
    "joining.READ",
    "channels.FOLLOW",
    "channels.NORMALIZER",
    "normalization_tasks.NORMALIZE",
    "normalization_tasks.AFFINE_TABLE",
    "normalization_tasks.MERGED_MOMENTS",
    "normalization_tasks.MOMENTS",
    "driver.prepare",
    "accumulating.ACCUMULATE",
    "dense_backward.BACKWARD",
    "dense_panels.ADD_UP",
    "dense_panels.FORWARD",
    "softmax_rows.SOFTMAX",
    "dense_dots.ROW",
    "gathering.GATHER",
)
"""What a training step needs, by module and name, what is needed last first, then a prediction.

But the driver comes before ACCUMULATE and linear layers, which multiply: the first process begins
with packing, the micro-kernel and GATHER, half of all there is to compile, and then needs the
driver, 2.5 s. By that time they find the micro-kernel; before, the second process compiled it as
well, in 4 s.
"""


@functools.cache
def start(dtype: np.dtype[Any]) -> None:
    """Start the second process, once, if there is a CPU for it and nothing was compiled yet."""
    if os.environ.get(VARIABLE) == "0" or largest() == 1 or not _has_interpreter():
        return
    if any(not file.name.startswith(_MEASURED) for file in kept_code()) or not can_keep():
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
                # -P: a folder "kernels" where it is started is not this package.
                [sys.executable, "-P", "-m", __name__, dtype.name],
                env=os.environ | settings,
                stdin=subprocess.PIPE,  # is closed when this process ends, however it does
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


_MEASURED = ("peak.", "driver.")
"""What files begin with that are there once ``doctor`` has measured the peak."""

_processes: list[subprocess.Popen[bytes]] = []


def _has_interpreter() -> bool:
    """Tell whether Python can be started again: in a frozen application it would start that."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def preparers() -> Iterator[Callable[[np.dtype[Any]], int | None]]:
    """Yield what compiles each of them for a dtype, importing what that needs."""
    for place in NEEDED:
        module, name = place.split(".")
        found = getattr(importlib.import_module(f"kernels.backends.numba.{module}"), name)
        yield getattr(found, "address", found)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()  # 6 % of the time
    for prepare in preparers():
        prepare(np.dtype(sys.argv[1]))
    os._exit(0)
