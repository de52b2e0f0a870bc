"""PyTorch, eager or compiled, in one of its two memory layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import torch

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
    pair,
)
from bench.contestants import Functions, inputs

aten = torch.ops.aten
functional = torch.nn.functional
EPS, MOMENTUM = 1e-5, 0.1


def prepare(case: Case, layout: str, threads: int, *, compiled: bool) -> Functions:
    """Return the passes of a case in that memory format, whole networks compiled if asked to."""
    torch.set_num_threads(threads)
    memory_format = getattr(torch, layout)
    if isinstance(case, NetworkCase):
        return _network(case, memory_format, torch.compile if compiled else lambda f: f)
    return _functions(case, memory_format)


@singledispatch
def _functions(case: Case, memory_format: Any) -> Functions:
    raise TypeError(f"PyTorch is not given a {type(case).__name__}")


@_functions.register
def _(case: ConvCase, memory_format: Any) -> Functions:
    x, weight, bias, grad_y = _tensors(inputs.convolution(case), memory_format)
    window = (pair(case.stride), pair(case.padding), pair(case.dilation))

    def backward(mask: list[bool]) -> Any:
        return aten.convolution_backward(
            grad_y, x, weight, None, *window, False, [0, 0], case.groups, mask
        )

    return {
        FORWARD: lambda: functional.conv2d(x, weight, bias, **case.window),
        BACKWARD_INPUT: lambda: backward([True, False, False])[0],
        BACKWARD_WEIGHT: lambda: backward([False, True, False])[1],
    }


@_functions.register
def _(case: PoolCase, memory_format: Any) -> Functions:
    x, grad_y = _tensors(inputs.draw(case.x_shape, case.y_shape), memory_format)
    _, indices = functional.max_pool2d(x, return_indices=True, **case.window)
    size = pair(case.kernel_size)
    window = (
        size,
        size if case.stride is None else pair(case.stride),
        pair(case.padding),
        pair(case.dilation),
        case.ceil_mode,
    )
    return {
        FORWARD: lambda: functional.max_pool2d(x, return_indices=True, **case.window),
        BACKWARD: lambda: aten.max_pool2d_with_indices_backward(grad_y, x, *window, indices),
    }


@_functions.register
def _(case: AvgPoolCase, memory_format: Any) -> Functions:
    x, grad_y = _tensors(inputs.draw(case.x_shape, case.y_shape), memory_format)
    if case.kernel_size is None:
        return {
            FORWARD: lambda: functional.adaptive_avg_pool2d(x, 1),
            BACKWARD: lambda: aten._adaptive_avg_pool2d_backward(grad_y, x),
        }
    size = case.kernel_size
    window = (pair(size), pair(size), (0, 0), False, True, None)
    return {
        FORWARD: lambda: functional.avg_pool2d(x, size),
        BACKWARD: lambda: aten.avg_pool2d_backward(grad_y, x, *window),
    }


@_functions.register
def _(case: BatchNormCase, memory_format: Any) -> Functions:
    x, weight, bias, mean, var, grad_y = _tensors(inputs.batch_norm(case), memory_format)

    def forward() -> Any:
        return aten.native_batch_norm(x, weight, bias, None, None, True, MOMENTUM, EPS)

    _, batch_mean, rstd = forward()
    return {
        FORWARD: forward,
        BACKWARD: lambda: aten.native_batch_norm_backward(
            grad_y, x, weight, None, None, batch_mean, rstd, True, EPS, [True, True, True]
        ),
        INFERENCE: lambda: functional.batch_norm(x, mean, var, weight, bias, eps=EPS),
    }


@_functions.register
def _(case: ReluCase, memory_format: Any) -> Functions:
    x, grad_y = _tensors(inputs.draw(case.x_shape, case.x_shape), memory_format)
    y = torch.relu(x)
    return {
        FORWARD: lambda: torch.relu(x),
        BACKWARD: lambda: aten.threshold_backward(grad_y, y, 0),
    }


@_functions.register
def _(case: LinearCase, memory_format: Any) -> Functions:
    x, weight, bias, grad_y = _tensors(inputs.linear(case), memory_format)
    return {
        FORWARD: lambda: functional.linear(x, weight, bias),
        BACKWARD: lambda: (grad_y @ weight, grad_y.T @ x, grad_y.sum(0)),
    }


def _network(case: NetworkCase, memory_format: Any, wrap: Callable[[Any], Any]) -> Functions:
    images, labels, model = inputs.network(case)
    (x,) = _tensors([images], memory_format)
    y = torch.from_numpy(labels)
    state = {name: torch.from_numpy(a) for name, a in model.state_dict().items()}
    module = mnist_cnn(case.input_shape, inputs.CLASSES)
    module.load_state_dict(state)
    module = module.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(module.parameters(), lr=inputs.LEARNING_RATE)
    compute = wrap(module)

    def step() -> float:
        module.train()
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(compute(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def infer() -> Any:
        module.eval()
        with torch.inference_mode():
            return compute(x).softmax(1)

    return {TRAINING_STEP: step, INFERENCE: infer}


def mnist_cnn(input_shape: Sequence[int], num_classes: int) -> Any:
    """Return the network of ``cnn.models.mnist_cnn``, whose state has the same names."""
    C, H, W = input_shape
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(C, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (H // 2) * (W // 2), 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


def _tensors(arrays: list[Any], memory_format: Any) -> list[Any]:
    """Convert; only images and their weights have a memory format."""
    tensors = (torch.from_numpy(array) for array in arrays)
    return [t.contiguous(memory_format=memory_format) if t.ndim == 4 else t for t in tensors]
