"""Cutting a data set into mini-batches, and checking it first."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray, IntArray
from kernels.ops import checks


def mini_batches(order: IntArray, batch_size: int) -> list[IntArray]:
    """Cut image numbers into batches of ``batch_size``, the last one smaller if need be.

    A last batch of a single image is joined to the one before it, since batch-norm cannot take
    statistics of one value.
    """
    count = batch_count(len(order), batch_size)
    return np.split(order, [batch_size * batch for batch in range(1, count)])


def batch_count(images: int, batch_size: int) -> int:
    """Return how many mini-batches :func:`mini_batches` makes."""
    lonely = 1 < batch_size < images and images % batch_size == 1
    return -(-images // batch_size) - lonely


def count_correct(logits: FloatArray, labels: IntArray) -> int:
    """Return how many rows are largest at their label."""
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))


def check_labelled(name: str, data: Any, least: int) -> tuple[FloatArray, IntArray]:
    """Check ``(x, y)``: as many labels as images, at least ``least`` of them.

    Raises
    ------
    kernels.ShapeError, TypeError
        If something else was given.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{name} must be (x, y), images and labels; got {type(data).__name__}")
    x, y = data
    for part, array in (("x", x), ("y", y)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name}'s {part} must be a NumPy array, got {type(array).__name__}")
    checks.integers(f"{name}'s y", y)
    if y.ndim != 1 or x.ndim < 2 or len(x) != len(y):
        raise kernels.ShapeError(
            f"{name} must be x (N, ...) and y (N,) of one N, got shapes {x.shape} and {y.shape}"
        )
    if len(x) < least:
        raise kernels.ShapeError(f"{name} must have {least} or more images, got {len(x)}")
    return x, y
