"""What a contestant has to compute before it is timed.

The reference is the naive backend where it is fast enough, elsewhere the numpy backend in float64,
which the cross-check holds to naive. The tolerance is one for all algorithms and only refuses what
computes something else; ``python -m kernels check`` has the strict bound.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case_types import TRAINING_STEP, Case
from bench.contestants import arrays, backends, small_enough_for_naive

TOLERANCE = 1e-4
"""Of the largest absolute value in an array."""

BLOCK = 64
"""Neighbours in memory whose mean stands for them in arrays of more than WHOLE elements. Every
element counts: the mean shows an error of 64 times the tolerance in one of them."""

WHOLE = 100_000

STEPS = 3
"""Training steps whose losses are compared, so that the update counts too."""


class WrongResultError(AssertionError):
    """A contestant's result is not that of the reference."""


def prepare(case: Case, pass_name: str, folder: Path) -> None:
    """Compute what is expected of one pass and keep it in the folder."""
    backend = "naive" if small_enough_for_naive(case, pass_name) else "numpy"
    expected = _results(backends.prepare(case, backend, "float64")[pass_name], pass_name)
    parts: dict[str, Any] = {f"part{i}": _condensed(array) for i, array in enumerate(expected)}
    np.savez(_path(case, pass_name, folder), **parts)


def check(case: Case, pass_name: str, function: Callable[[], Any], folder: Path) -> None:
    """Run a contestant's function and compare.

    Raises
    ------
    WrongResultError
        If a part has another shape, or an element is further off than the tolerance.
    """
    results = _results(function, pass_name)
    with np.load(_path(case, pass_name, folder)) as expected:
        if len(expected.files) != len(results):
            raise WrongResultError(f"{len(results)} results instead of {len(expected.files)}")
        for i, result in enumerate(results):
            _compare(i, _condensed(result), expected[f"part{i}"])


def _compare(part: int, result: NDArray[Any], expected: NDArray[Any]) -> None:
    if result.shape != expected.shape:
        raise WrongResultError(f"part {part} has {result.size} elements, not {expected.size}")
    if not expected.size:
        return
    scale = float(np.abs(expected).max())
    error = float(np.abs(result - expected).max())
    if not error <= TOLERANCE * scale:  # NaN is wrong too
        raise WrongResultError(
            f"part {part} is off by {error:.2g}, where {TOLERANCE * scale:.2g} is allowed"
        )


def _results(function: Callable[[], Any], pass_name: str) -> list[NDArray[Any]]:
    calls = STEPS if pass_name == TRAINING_STEP else 1
    return [array for _ in range(calls) for array in arrays(function())]


def _condensed(array: NDArray[Any]) -> NDArray[np.float64]:
    flat = array.reshape(-1).astype(np.float64)
    if flat.size <= WHOLE:
        return flat
    return np.add.reduceat(flat, np.arange(0, flat.size, BLOCK)) / BLOCK


def _path(case: Case, pass_name: str, folder: Path) -> Path:
    return folder / f"{case.id}-{pass_name}.npz"
