"""Batch-norm's numbers for each channel as functions of arrays, and how their cases are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import fused
from kernels.backends.contract import FloatArray
from kernels.capturing import also
from kernels.crosscheck.cases import Case
from kernels.crosscheck.drawing import Draw
from kernels.crosscheck.limits import naive
from kernels.lazy import Moments, Running, Sums

ROUNDINGS = 8
"""Of the longest formula among them."""


def norm_forward(*arrays: Any, eps: float, backend: str) -> tuple[Any, ...]:
    """Return rstd, and mean, scale and shift."""
    mean, var, weight, bias = arrays
    rstd, out = np.empty(len(mean)), np.empty((3, len(mean)), weight.dtype)
    fused.norm_forward(Moments(mean, var), weight, bias, eps, rstd=rstd, out=out, backend=backend)
    return rstd, out


def norm_backward(*arrays: Any, count: int, backend: str) -> tuple[Any, ...]:
    """Return mean, a, b and c, and the gradients of weight and bias."""
    grad, grad_x, weight, mean, rstd = arrays
    out = np.empty((4, len(weight)), weight.dtype)
    gradients = [np.empty(weight.shape, weight.dtype) for _ in range(2)]
    fused.norm_backward(
        *(Sums(grad, grad_x), weight, mean, rstd, count),
        out=out,
        grad_weight=gradients[0],
        grad_bias=gradients[1],
        backend=backend,
    )
    return (out, *gradients)


def norm_track(
    *arrays: Any, eps: float, count: int, momentum: float, backend: str
) -> tuple[Any, ...]:
    """Return what running statistics become."""
    mean, rstd, *before = arrays
    after = Running(*(np.empty_like(array, subok=False) for array in before))
    for new, old in zip(after, before, strict=True):
        also(np.copyto, new, old)
    fused.norm_track(mean, rstd, eps, count, momentum, running=after, backend=backend)
    return tuple(after)


def draw_norm_forward(draw: Draw) -> Case:
    """Draw a case; a mean may be more exact than the parameters' dtype can be."""
    C, eps = draw.channels(), draw.choice(1e-5, 0.1)
    mean, var = draw.values(C), draw.positive(C)
    if draw.chance(0.5):
        mean, var = _wide(mean) * 1.1, _wide(var)
    weight, bias = draw.values(C), draw.values(C)
    rstd, (_, scale, _) = naive(norm_forward, mean, var, weight, bias, eps=eps)
    of_shift = abs(bias) + abs(scale * mean)
    sizes = np.stack([abs(mean), abs(scale), of_shift]).astype(weight.dtype)
    limits = (rstd, ROUNDINGS), (sizes, ROUNDINGS)
    return Case((mean, var, weight, bias), limits, {"eps": eps})


def draw_norm_backward(draw: Draw) -> Case:
    """Draw a case; all its numbers are products."""
    C, settings = draw.channels(), {"count": draw.integer(1, 100)}
    sums = _wide(draw.values(C)), _wide(draw.values(C))
    arguments = (*sums, draw.values(C), draw.values(C), _wide(draw.positive(C)))
    sizes = naive(norm_backward, *arguments, **settings)
    return Case(arguments, tuple((abs(size), ROUNDINGS) for size in sizes), settings)


def draw_norm_track(draw: Draw) -> Case:
    """Draw a case, with an rstd of either dtype."""
    C, eps, count = draw.channels(), draw.choice(1e-5, 0.1), draw.integer(2, 100)
    momentum = draw.choice(0.0, 0.1, 1.0)
    mean, rstd = draw.values(C), draw.positive(C)
    if draw.chance(0.5):
        rstd = _wide(rstd)
    running = draw.values(C), draw.positive(C), np.array(draw.integer(0, 9))
    of_mean = (1 - momentum) * abs(running[0]) + momentum * abs(mean)
    of_var = (1 / np.square(_wide(rstd)) + eps) * count / (count - 1)
    of_var = (1 - momentum) * running[1] + momentum * of_var
    sizes = (size.astype(mean.dtype) for size in (of_mean, of_var))
    limits = (*((size, ROUNDINGS) for size in sizes), None)
    settings = {"eps": eps, "count": count, "momentum": momentum}
    return Case((mean, rstd, *running), limits, settings)


def _wide(array: FloatArray) -> FloatArray:
    return array.astype(np.float64)
