"""How each public operation is drawn: those of windows in ``windowed``, the others here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import kernels
from kernels.backends.contract import FloatArray
from kernels.crosscheck.cases import Case, case
from kernels.crosscheck.drawing import Draw
from kernels.crosscheck.limits import naive
from kernels.crosscheck.windowed import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    conv2d_backward_input,
    conv2d_backward_weight,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)


@dataclass(frozen=True)
class _Batch:
    x: FloatArray
    grad_y: FloatArray
    weight: FloatArray | None
    bias: FloatArray | None


def _batch(draw: Draw, least: int) -> _Batch:
    C = draw.channels()
    space = [draw.integer(1, 5) for _ in range(draw.integer(0, 2))]
    if draw.wide:
        space = [draw.integer(520, 1100)]
    N = max(least, draw.batch())
    if least and N * int(np.prod(space)) < 2:
        N = 2
    affine = draw.chance(0.8)
    weight = draw.values(C) if affine else None
    bias = draw.values(C) if affine else None
    values = draw.values(N, C, *space)
    if draw.chance(0.3):
        values = draw.laid_out(values + values.dtype.type(draw.choice(-100, 1e4)))
    return _Batch(values, draw.values(N, C, *space), weight, bias)


def batch_norm(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=1)
    return case("batch_norm", batch.x, batch.weight, batch.bias)


def batch_norm_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=1)
    _, mean, rstd = naive(kernels.batch_norm, batch.x, batch.weight, batch.bias)
    return case("batch_norm_backward", batch.grad_y, batch.x, batch.weight, mean, rstd)


def batch_norm_inference(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    return case("batch_norm_inference", batch.x, batch.weight, batch.bias, mean, var)


def batch_norm_inference_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    arguments = (batch.grad_y, batch.x, batch.weight, mean, var)
    return case("batch_norm_inference_backward", *arguments)


def _matrix_sizes(draw: Draw) -> tuple[int, int, int]:
    if draw.wide:
        return draw.integer(129, 140), draw.integer(129, 140), draw.integer(33, 40)
    sizes = (draw.integer(1, 9), draw.integer(1, 9))
    return draw.batch(), draw.choice(sizes[0], 40), draw.choice(sizes[1], 33)


def linear(draw: Draw) -> Case:
    """Draw a case."""
    N, I, O = _matrix_sizes(draw)
    bias = draw.values(O) if draw.chance(0.7) else None
    return case("linear", draw.values(N, I), draw.values(O, I), bias)


def linear_backward(draw: Draw) -> Case:
    """Draw a case."""
    N, I, O = _matrix_sizes(draw)
    return case("linear_backward", draw.values(N, O), draw.values(N, I), draw.values(O, I))


def relu(draw: Draw) -> Case:
    """Draw a case."""
    return case("relu", _any_shape(draw, draw.ties))


def relu_backward(draw: Draw) -> Case:
    """Draw a case."""
    y = _any_shape(draw, draw.ties)
    return case("relu_backward", draw.values(*y.shape), y)


def _any_shape(draw: Draw, values: Callable[..., FloatArray]) -> FloatArray:
    if draw.wide:
        return values(draw.integer(129, 140), 130)
    return values(
        *(draw.integer(0 if draw.chance(0.05) else 1, 7) for _ in range(draw.integer(0, 4)))
    )


def softmax(draw: Draw) -> Case:
    """Draw a case."""
    return case("softmax", draw.logits(0))


def log_softmax(draw: Draw) -> Case:
    """Draw a case."""
    return case("log_softmax", draw.logits(0))


def softmax_cross_entropy(draw: Draw) -> Case:
    """Draw a case."""
    logits = draw.logits(1)
    return case("softmax_cross_entropy", logits, draw.labels(*logits.shape))


OPERATIONS: dict[str, Callable[[Draw], Case]] = {
    function.__name__: function
    for function in (
        conv2d,
        conv2d_backward,
        conv2d_backward_input,
        conv2d_backward_weight,
        max_pool2d,
        max_pool2d_backward,
        avg_pool2d,
        avg_pool2d_backward,
        global_avg_pool2d,
        global_avg_pool2d_backward,
        batch_norm,
        batch_norm_backward,
        batch_norm_inference,
        batch_norm_inference_backward,
        linear,
        linear_backward,
        relu,
        relu_backward,
        softmax,
        log_softmax,
        softmax_cross_entropy,
    )
}
