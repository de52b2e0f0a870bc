"""A call captured with other values, and replayed with those of a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.capturing import capture
from kernels.crosscheck.cases import Case

CHANGES = slice(None, -1), slice(-1, None), slice(0)
"""What gets its new values before each replay: all elements but the last one, that one, none."""


def replayed(function: Callable[..., Any], case: Case, backend: str) -> Any:
    """Return the result that a replay leaves; None if the backend or the call has no captures.

    What a backend looked up when it was captured, or keeps of the weights, shows: the values were
    others then.
    """
    results: list[Any] = []
    twins = [_twin(a) if _is_float(a) else a for a in case.arguments]
    captured = capture(
        lambda: results.append(function(*twins, **case.keywords, backend=backend)),
        backend=backend,
        steady=True,
    )
    if captured is None:
        return None
    for changed in CHANGES:
        for twin, argument in zip(twins, case.arguments, strict=True):
            if twin is not argument:
                twin.flat[changed] = argument.flat[changed]
        captured.replay()
    return results[0]


def _is_float(argument: Any) -> bool:
    return isinstance(argument, np.ndarray) and argument.dtype.kind == "f"


def _twin(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of the same layout, or one with gaps if that has some, full of halves."""
    if array.ndim == 0 or array.flags.forc or array.size < 2:
        return np.full_like(array, 0.5)
    twin = np.full((*array.shape[:-1], 2 * array.shape[-1]), 0.5, array.dtype)
    return twin[..., ::2]
