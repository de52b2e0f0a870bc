"""Memory layout: images are kept channels-last, as NCHW views of NHWC memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised array: (N, C, ...) channels-last from 3 axes on."""
    if len(shape) < 3:
        return np.empty(shape, dtype)
    N, C, *space = shape
    return np.moveaxis(np.empty((N, *space, C), dtype), -1, 1)


def channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """Return the (N, H, W, C) view of an (N, C, H, W) array."""
    return array.transpose(0, 2, 3, 1)


def rows(array: NDArray[Any]) -> NDArray[Any]:
    """Return (N, C, ...) as (M, C), one row per value of a channel: a view if memory allows."""
    return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
