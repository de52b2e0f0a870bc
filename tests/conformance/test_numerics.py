"""NaN and infinities in each argument in turn: results and gradients as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  (its own name for it)

import kernels

Arrays = Sequence[Any]
RNG = np.random.default_rng(0)
LABELS = np.array([1, 0, 3, 2, 4])
WINDOW = dict(stride=2, padding=1)


@dataclass(frozen=True)
class Operation:
    """An operation, forward and backward.

    ``ours`` takes arrays and the gradient of y and returns y and each array's gradient; ``theirs``
    takes tensors and returns y.
    """

    shapes: tuple[tuple[int, ...], ...]
    ours: Callable[..., Arrays]
    theirs: Callable[..., torch.Tensor]


def _conv2d(grad_y: Any, x: Any, weight: Any, bias: Any) -> Arrays:
    y = kernels.conv2d(x, weight, bias, padding=1)
    return [y, *kernels.conv2d_backward(grad_y, x, weight, padding=1)]


def _conv2d_unpadded(grad_y: Any, x: Any, weight: Any, bias: Any) -> Arrays:
    y = kernels.conv2d(x, weight, bias, stride=2)
    return [y, *kernels.conv2d_backward(grad_y, x, weight, stride=2)]


def _max_pool2d(grad_y: Any, x: Any) -> Arrays:
    y, indices = kernels.max_pool2d(x, 3, **WINDOW)
    return [y, kernels.max_pool2d_backward(grad_y, indices, x.shape)]


def _avg_pool2d(grad_y: Any, x: Any) -> Arrays:
    y = kernels.avg_pool2d(x, 3, **WINDOW)
    return [y, kernels.avg_pool2d_backward(grad_y, x.shape, 3, **WINDOW)]


def _global_avg_pool2d(grad_y: Any, x: Any) -> Arrays:
    return [kernels.global_avg_pool2d(x), kernels.global_avg_pool2d_backward(grad_y, x.shape)]


def _batch_norm(grad_y: Any, x: Any, weight: Any, bias: Any) -> Arrays:
    y, mean, rstd = kernels.batch_norm(x, weight, bias)
    return [y, *kernels.batch_norm_backward(grad_y, x, weight, mean, rstd)]


MEAN, VAR = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.5, 3.0])


def _batch_norm_inference(grad_y: Any, x: Any, weight: Any, bias: Any) -> Arrays:
    mean, var = MEAN.astype(x.dtype), VAR.astype(x.dtype)
    y = kernels.batch_norm_inference(x, weight, bias, mean, var)
    return [y, *kernels.batch_norm_inference_backward(grad_y, x, weight, mean, var)]


def _linear(grad_y: Any, x: Any, weight: Any, bias: Any) -> Arrays:
    return [kernels.linear(x, weight, bias), *kernels.linear_backward(grad_y, x, weight)]


def _relu(grad_y: Any, x: Any) -> Arrays:
    y = kernels.relu(x)
    return [y, kernels.relu_backward(grad_y, y)]


def _cross_entropy(grad_y: Any, logits: Any) -> Arrays:
    loss, grad = kernels.softmax_cross_entropy(logits, LABELS)
    return [np.asarray(loss), grad * grad_y]


def _probabilities(grad_y: Any, logits: Any) -> Arrays:
    return [kernels.softmax(logits)]


def _log_probabilities(grad_y: Any, logits: Any) -> Arrays:
    return [kernels.log_softmax(logits)]


X = (2, 3, 6, 5)
OPERATIONS = {
    "conv2d, padded": Operation(
        (X, (4, 3, 3, 3), (4,)), _conv2d, lambda x, w, b: F.conv2d(x, w, b, padding=1)
    ),
    "conv2d": Operation(
        (X, (4, 3, 3, 3), (4,)), _conv2d_unpadded, lambda x, w, b: F.conv2d(x, w, b, stride=2)
    ),
    "max_pool2d": Operation((X,), _max_pool2d, lambda x: F.max_pool2d(x, 3, **WINDOW)),
    "avg_pool2d": Operation((X,), _avg_pool2d, lambda x: F.avg_pool2d(x, 3, **WINDOW)),
    "global_avg_pool2d": Operation(
        (X,), _global_avg_pool2d, lambda x: x.mean((2, 3), keepdim=True)
    ),
    "batch_norm": Operation(
        (X, (3,), (3,)),
        _batch_norm,
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    ),
    "batch_norm_inference": Operation(
        (X, (3,), (3,)),
        _batch_norm_inference,
        lambda x, w, b: F.batch_norm(x, torch.from_numpy(MEAN), torch.from_numpy(VAR), w, b),
    ),
    "linear": Operation(((5, 7), (4, 7), (4,)), _linear, F.linear),
    "relu": Operation((X,), _relu, F.relu),
    "cross_entropy": Operation(
        ((5, 6),), _cross_entropy, lambda x: F.cross_entropy(x, torch.from_numpy(LABELS))
    ),
    "softmax": Operation(((5, 6),), _probabilities, lambda x: F.softmax(x, 1)),
    "log_softmax": Operation(((5, 6),), _log_probabilities, lambda x: F.log_softmax(x, 1)),
}

GRAD_Y = -1
DIFFERENCES = {
    ("naive", "conv2d, padded", 1, 0): "PyTorch multiplies padding by the weights in float64, "
    "not in float32; naive never does",
    ("naive", "conv2d, padded", GRAD_Y, 2): "the same in the weights' gradient",
    ("numpy", "conv2d, padded", 1, 1): "the input's gradient is a convolution of the output's, "
    "padded, by the weights: at the border 0 · NaN comes in. The loss is NaN then anyway",
    ("numba", "conv2d, padded", 1, 1): "as in numpy",
    ("numba", "conv2d", 1, 1): "as with padding",
}
"""Backend, operation, the argument with the special value, the part of the result: the reason."""

DIFFERENCES_OF_INFINITY = {
    (backend, name, 1, 0): "PyTorch computes x · scale + shift, which is inf - inf; here it is "
    "scale · (x - mean) + bias, which keeps its digits behind a large mean"
    for name in ("batch_norm", "batch_norm_inference")
    for backend in kernels.available_backends()
} | {
    (backend, "batch_norm", 1, 1): "a · grad + b · (x - mean) + c with three numbers for each "
    "channel, all infinite then; PyTorch multiplies by the weight at the end"
    for backend in ("numpy", "numba")
}

SPREADING = {
    ("numba", "conv2d, padded", GRAD_Y, 1): "neighbouring pixels share a vector where it is wide "
    "enough, with weights of 0 for what one does not take: docs/numba.md",
}
"""Where NaN and infinity may reach more than PyTorch's: all that stays finite is right."""


def _arguments(operation: Operation, dtype: str, place: int, special: float) -> tuple[Any, Arrays]:
    """Return the gradient of y and the arguments, one with a special value in two places."""
    arguments = [RNG.standard_normal(shape).astype(dtype) for shape in operation.shapes]
    shape = operation.theirs(*map(torch.from_numpy, map(np.float64, arguments))).shape
    grad_y = RNG.standard_normal(shape).astype(dtype)
    chosen = grad_y if place == GRAD_Y else arguments[place]
    flat = chosen.reshape(-1)
    flat[flat.size // 3] = special
    flat[0] = -special
    return grad_y, arguments


def _places(name: str) -> list[int]:
    places = list(range(len(OPERATIONS[name].shapes)))
    return places if "softmax" in name or "entropy" in name else [GRAD_Y, *places]


CASES = [(name, place) for name in OPERATIONS for place in _places(name)]


@pytest.mark.filterwarnings("ignore:.*(invalid value|overflow|divide by zero)")
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "place"), CASES)
def test_special_values(name: str, place: int, special: float, backend: str, dtype: str) -> None:
    operation = OPERATIONS[name]
    differences = DIFFERENCES | (DIFFERENCES_OF_INFINITY if np.isinf(special) else {})
    grad_y, arguments = _arguments(operation, dtype, place, special)
    leaves = [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in arguments]
    y = operation.theirs(*leaves)
    parts = [y, *torch.autograd.grad(y, leaves, torch.from_numpy(grad_y.astype(np.float64)))]
    got = operation.ours(grad_y, *arguments)
    for part, (ours, theirs) in enumerate(zip(got, parts, strict=False)):
        wanted = theirs.detach().numpy()
        if (backend, name, place, part) in SPREADING:
            finite = np.isfinite(ours)
            assert finite.any()
            ours, wanted = ours[finite], wanted[finite]
        same = np.allclose(ours, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)
        listed = (backend, name, place, part) in differences
        assert same != listed, f"part {part}:\n{ours}\nPyTorch:\n{wanted}"
