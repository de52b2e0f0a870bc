"""The backends of this project, through the public functions, on channels-last images."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

import cnn
import kernels
from bench.case_types import (
    BACKWARD,
    BACKWARD_INPUT,
    BACKWARD_WEIGHT,
    FORWARD,
    INFERENCE,
    TRAINING_STEP,
    AvgPoolCase,
    BatchNormCase,
    Case,
    ConvCase,
    LinearCase,
    NetworkCase,
    PoolCase,
    ReluCase,
)
from bench.contestants import Functions, inputs
from bench.contestants.inputs import Array


def prepare(case: Case, backend: str, dtype: str = "float32") -> Functions:
    """Return the passes of a case on a backend; in float64 they are what others are checked by."""
    return _functions(case, backend, dtype)


@singledispatch
def _functions(case: Case, backend: str, dtype: str) -> Functions:
    raise TypeError(f"no backend of this project runs a {type(case).__name__}")


@_functions.register
def _(case: ConvCase, backend: str, dtype: str) -> Functions:
    x, weight, bias, grad_y = _convolved(case, dtype)
    keywords = case.window | {"backend": backend}
    return {
        FORWARD: lambda: kernels.conv2d(x, weight, bias, **keywords),
        BACKWARD_INPUT: lambda: kernels.conv2d_backward_input(
            grad_y, weight, case.x_shape, **keywords
        ),
        BACKWARD_WEIGHT: lambda: kernels.conv2d_backward_weight(
            grad_y, x, case.weight_shape, **keywords
        ),
    }


@_functions.register
def _(case: PoolCase, backend: str, dtype: str) -> Functions:
    x, grad_y = _laid_out(inputs.draw(case.x_shape, case.y_shape), dtype)
    indices = kernels.max_pool2d(x, backend=backend, **case.window).indices
    return {
        FORWARD: lambda: kernels.max_pool2d(x, backend=backend, **case.window),
        BACKWARD: lambda: kernels.max_pool2d_backward(
            grad_y, indices, case.x_shape, backend=backend
        ),
    }


@_functions.register
def _(case: AvgPoolCase, backend: str, dtype: str) -> Functions:
    x, grad_y = _laid_out(inputs.draw(case.x_shape, case.y_shape), dtype)
    if case.kernel_size is None:
        return {
            FORWARD: lambda: kernels.global_avg_pool2d(x, backend=backend),
            BACKWARD: lambda: kernels.global_avg_pool2d_backward(
                grad_y, case.x_shape, backend=backend
            ),
        }
    size = case.kernel_size
    return {
        FORWARD: lambda: kernels.avg_pool2d(x, size, backend=backend),
        BACKWARD: lambda: kernels.avg_pool2d_backward(grad_y, case.x_shape, size, backend=backend),
    }


@_functions.register
def _(case: BatchNormCase, backend: str, dtype: str) -> Functions:
    x, weight, bias, mean, var, grad_y = _laid_out(inputs.batch_norm(case), dtype)
    _, batch_mean, rstd = kernels.batch_norm(x, weight, bias, backend=backend)
    return {
        FORWARD: lambda: kernels.batch_norm(x, weight, bias, backend=backend),
        BACKWARD: lambda: kernels.batch_norm_backward(
            grad_y, x, weight, batch_mean, rstd, backend=backend
        ),
        INFERENCE: lambda: kernels.batch_norm_inference(
            x, weight, bias, mean, var, backend=backend
        ),
    }


@_functions.register
def _(case: ReluCase, backend: str, dtype: str) -> Functions:
    x, grad_y = _laid_out(inputs.draw(case.x_shape, case.x_shape), dtype)
    y = kernels.relu(x, backend=backend)
    return {
        FORWARD: lambda: kernels.relu(x, backend=backend),
        BACKWARD: lambda: kernels.relu_backward(grad_y, y, backend=backend),
    }


@_functions.register
def _(case: LinearCase, backend: str, dtype: str) -> Functions:
    x, weight, bias, grad_y = _laid_out(inputs.linear(case), dtype)
    return {
        FORWARD: lambda: kernels.linear(x, weight, bias, backend=backend),
        BACKWARD: lambda: kernels.linear_backward(grad_y, x, weight, backend=backend),
    }


@_functions.register
def _(case: NetworkCase, backend: str, dtype: str) -> Functions:
    images, labels, model = inputs.network(case)
    (x,) = _laid_out([images], dtype)
    if dtype != "float32":
        model = _converted(model, dtype)
    trainer = cnn.Trainer(model, optimizer=cnn.optim.SGD(lr=inputs.LEARNING_RATE), backend=backend)

    def infer() -> Array:
        with kernels.use_backend(backend):
            probabilities: Array = model.predict_proba(x)
            return probabilities

    return {TRAINING_STEP: lambda: trainer.step(x, labels), INFERENCE: infer}


def _laid_out(arrays: list[Array], dtype: str) -> list[Array]:
    """Convert to ``dtype``; images lie channels-last in memory."""
    return [_channels_last(array.astype(dtype)) for array in arrays]


def _convolved(case: ConvCase, dtype: str) -> list[Array]:
    """Return x, weight, bias and grad_y: the weight as a layer keeps it, in the order of its axes.

    Channels-last weights would be copied on each call: 1.7 to 3.6 ms of 9 to 12 at 512 channels.
    """
    x, weight, bias, grad_y = inputs.convolution(case)
    x, grad_y = _laid_out([x, grad_y], dtype)
    return [x, weight.astype(dtype), bias.astype(dtype), grad_y]


def _channels_last(array: Array) -> Array:
    if array.ndim != 4:
        return array
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def _converted(model: Any, dtype: str) -> Any:
    """Return the same network in another dtype."""
    architecture = model.architecture
    other = cnn.models.create(architecture.name, **(architecture.kwargs | {"dtype": dtype}))
    other.load_state_dict({name: _cast(a, dtype) for name, a in model.state_dict().items()})
    return other


def _cast(array: Array, dtype: str) -> Array:
    return array.astype(dtype) if array.dtype.kind == "f" else array
