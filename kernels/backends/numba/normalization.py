"""Batch-norm and its gradients: one pass for the sums, one for the values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.normalization_tasks import (
    AFFINE_TABLE,
    COMBINE,
    GRADIENT_SUMS,
    GRADIENT_TABLE,
    MERGED_MOMENTS,
    MERGED_SUMS,
    MOMENTS,
    NORMALIZE,
)
from kernels.backends.numba.reduction import Rows, rows_of
from kernels.backends.numba.tasks import Phase, run
from kernels.capturing import also


def batch_norm(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    eps: float,
    *,
    out: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
) -> None:
    """Take the statistics, then centre, scale and shift.

    What the mean loses when it is rounded to its dtype goes into the shift.
    """
    channels = np.empty((4, len(weight)))
    also(_set, channels[2:], weight, bias)
    _normalize(x, channels, eps, True, out)
    also(_set, (mean, rstd), *channels[:2])


def batch_norm_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """``grad_x = a · grad_y + b · (x - mean) + c`` with three numbers for each channel."""
    channels = np.empty((5, len(weight)))
    also(_set, channels[:3], mean, rstd, weight)
    with FlatOutput(grad_x) as gradient:
        _pull_back(flat_input(grad_y), flat_input(x), channels, gradient)
    also(_set, (grad_bias, grad_weight), *channels[3:])


def batch_norm_inference(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    out: FloatArray,
) -> None:
    """Centre, scale and shift."""
    channels = np.empty((4, len(weight)))
    also(_set, (channels[0], *channels[2:]), running_mean, weight, bias)
    also(_write_rstd, running_var, eps, channels[1])
    _normalize(x, channels, eps, False, out)


def batch_norm_inference_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Scale; the statistics are constants."""
    channels = np.empty((5, len(weight)))
    also(_set, (channels[0], channels[2]), running_mean, weight)
    also(_write_rstd, running_var, eps, channels[1])
    _pull_back(flat_input(grad_y), flat_input(x), channels, None)
    also(_set, (grad_bias, grad_weight), *channels[3:])
    also(_set, (channels[0], channels[3]), 0.0, 0.0)  # x has no part in the gradient, NaN or not
    _normalize(grad_y, channels[:4], eps, False, grad_x)


def _set(targets: Iterable[FloatArray], *sources: FloatArray | float) -> None:
    for target, source in zip(targets, sources, strict=True):
        target[...] = source


def _write_rstd(var: FloatArray, eps: float, out: NDArray[np.float64]) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        out[...] = 1.0 / np.sqrt(np.add(var, eps, dtype=np.float64))


def _normalize(
    x: FloatArray, channels: NDArray[np.float64], eps: float, training: bool, out: FloatArray
) -> None:
    """Write ``weight · rstd · (x - mean) + bias``, the centred form, right for large means.

    ``channels`` are mean, rstd, weight and bias; the first two are results in training.
    """
    values = flat_input(x)
    rows = rows_of(values, channels.shape[1])
    parts, table = _scratch(rows, 3, 3, values.dtype)
    phases = [Phase(AFFINE_TABLE, 1, 1), Phase(NORMALIZE, rows.tasks, rows.tasks)]
    if training:
        phases[:0] = [Phase(MOMENTS, rows.tasks, rows.tasks), Phase(MERGED_MOMENTS, 1, 1)]
    with FlatOutput(out) as y:
        entries = (*rows, values, None, channels.reshape(-1), parts, table, y, np.array([eps]))
        run(phases, entries, values)


def _pull_back(
    grad: FloatArray, values: FloatArray, channels: NDArray[np.float64], out: FloatArray | None
) -> None:
    """Take the sums; write the gradient, unless ``out`` is None.

    ``channels`` are mean, rstd, weight and, as results, the gradients of bias and weight.
    """
    rows = rows_of(values, channels.shape[1])
    parts, table = _scratch(rows, 2, 4, values.dtype)
    phases = [
        Phase(GRADIENT_TABLE, 1, 1),
        Phase(GRADIENT_SUMS, rows.tasks, rows.tasks),
        Phase(MERGED_SUMS, 1, 1),
    ]
    if out is not None:
        phases += [Phase(GRADIENT_TABLE, 1, 1), Phase(COMBINE, rows.tasks, rows.tasks)]
    run(phases, (*rows, values, grad, channels.reshape(-1), parts, table, out), values)


def _scratch(
    rows: Rows, sums: int, parameters: int, dtype: np.dtype[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return room for each block's sums, and for wide rows of parameters."""
    width = rows.together * rows.C
    return np.empty(rows.tasks * sums * width, dtype), np.empty(parameters * width, dtype)
