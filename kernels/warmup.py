"""``python -m kernels warmup``: compile ahead what training and inference need.

Every operation runs on some small cases of the cross-check, which take each branch: so all that can
be called gets compiled, what is added later included, and is seen to compute what it should.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from kernels import fused
from kernels.crosscheck import OperationReport, check_backend
from kernels.dispatch import resolve
from kernels.lazy import Read

CASES = 12
"""Small cases of an operation: enough for each optional argument to be there and to be left out."""

FAILED, BAD_INPUT = 1, 2


def add_to(commands: Any) -> None:
    """Add ``warmup`` to the subparsers of ``python -m kernels``."""
    parser = commands.add_parser(
        "warmup",
        help="compile the numba backend ahead, into its cache",
        description="Compile every operation of the numba backend for this CPU, so that the next "
        "process starts at once. The machine code is kept in NUMBA_CACHE_DIR if that is set, else "
        "in the user's cache folder.",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "both"),
        default="float32",
        help="of the arrays that will be computed with (%(default)s)",
    )
    parser.set_defaults(run=_warm_up)


def _warm_up(options: argparse.Namespace) -> int:
    try:
        resolve("numba")
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    from kernels.backends.numba.cache import cache_folder, kept_code

    started = time.perf_counter()
    before = set(kept_code())
    print(f"compiling the numba backend for this CPU into {cache_folder()}", flush=True)
    passed = True
    for dtype in ("float32", "float64") if options.dtype == "both" else (options.dtype,):
        print(f"{dtype:30}{'compiled':>10}{'seconds':>10}")
        report = check_backend("numba", cases=CASES, dtype=dtype, progress=_Progress())
        passed = passed and report.passed
        planes = np.zeros((2, 8, 32, 32), dtype)  # in the order (N, C, H, W), and not small
        kernels.relu(planes, out=np.empty_like(planes), backend="numba")
        _join(planes)
    new = len(set(kept_code()) - before)
    print(f"{new} functions compiled in {time.perf_counter() - started:.1f} s")
    if not passed:
        print("error: some results are wrong; `python -m kernels check` says which")
    return 0 if passed else FAILED


def _join(planes: NDArray[Any]) -> None:
    """Join values that are stored in planes, forward and backward."""
    reads, y, masked = (Read(planes),), np.empty_like(planes), np.empty_like(planes)
    fused.join_forward(reads, True, None, out=y, position=None, backend="numba")
    fused.join_backward(y, None, y, reads, True, None, out=masked, backend="numba")


class _Progress:
    """Says after each operation how many functions it had compiled, and how long that took."""

    def __init__(self) -> None:
        self._start()

    def __call__(self, report: OperationReport) -> None:
        from kernels.backends.numba.cache import kept_code

        new, seconds = len(set(kept_code()) - self._kept), time.perf_counter() - self._started
        print(f"  {report.operation:28}{new:10}{seconds:10.1f}", flush=True)
        self._start()

    def _start(self) -> None:
        from kernels.backends.numba.cache import kept_code

        self._kept, self._started = set(kept_code()), time.perf_counter()
