"""Checking a state dictionary against the arrays it is to be copied into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn.arrays import AnyArray


def fitted(arrays: Mapping[str, AnyArray], state: Mapping[str, Any]) -> dict[str, AnyArray]:
    """Return the state's values as arrays that can be copied into ``arrays`` without loss.

    Raises
    ------
    ValueError
        If names, shapes or dtypes differ; float32 and float64 count as alike, integers too.
    """
    faults = {
        "missing": [name for name in arrays if name not in state],
        "unexpected": [str(name) for name in state if name not in arrays],
    }
    if any(faults.values()):
        found = "; ".join(f"{kind} {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"state does not fit the model's names: {found}")
    values = {name: np.asarray(state[name]) for name in arrays}
    for name, array in arrays.items():
        _check(name, values[name], array)
    return values


def _check(name: str, value: AnyArray, wanted: AnyArray) -> None:
    if value.shape != wanted.shape:
        raise ValueError(f"{name} must have shape {wanted.shape}, got {value.shape}")
    if wanted.dtype.kind == "f":
        fits, what = (
            value.dtype.kind == "f" and value.dtype.itemsize in (4, 8),
            "float32 or float64",
        )
    else:
        fits, what = value.dtype.kind in "iu", "an integer dtype"
    if not fits:
        raise ValueError(f"{name} must be of {what}, got {value.dtype}")
