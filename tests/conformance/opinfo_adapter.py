"""PyTorch's operators in terms of ``kernels``: each sample becomes calls with the right results.

A sample is what PyTorch tests its own operator with. What is not supported is passed on under its
name all the same, for the public function to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from kernels.crosscheck.cases import Case, case
from tests.conformance.torch_values import array, gradients, leaf, rounded


class Call(NamedTuple):
    """A call of a public operation, and the parts of the result that PyTorch gives."""

    operation: str
    case: Case
    parts: tuple[Any, ...]

    def reference(self, operation: str, case: Case) -> tuple[Any, ...]:
        """Return what is right; see ``kernels.crosscheck.running.faults``."""
        return self.parts


def calls(name: str, function: Callable[..., Any], sample: Any) -> list[Call]:
    """Return a forward call and, where there is one, a backward call."""
    return ADAPTERS[name](function, sample.input, *sample.args, **sample.kwargs)


def _grad_like(y: Any, dtype: Any) -> Any:
    """Return an output gradient of small numbers without a pattern."""
    return np.random.default_rng(y.numel()).standard_normal(tuple(y.shape)).astype(dtype)


def _arrays(*tensors: Any) -> tuple[Any, ...]:
    return tuple(map(array, tensors))


def one_or_two(value: Any) -> Any:
    """Return PyTorch's ``(1,)`` as 1, and its ``()`` as None."""
    if isinstance(value, tuple) and len(value) < 2:
        return value[0] if value else None
    return value


def conv2d(function: Any, x: Any, weight: Any, bias: Any = None, **window: Any) -> list[Call]:
    """Without a bias, PyTorch's gradient of one is taken at zeros."""
    values = _arrays(x, weight, bias)
    dtype = values[0].dtype
    forward = case("conv2d", *values, **window)
    zeros = torch.zeros(len(weight)) if bias is None else bias
    leaves = tuple(map(leaf, (x, weight, zeros)))
    y = function(*leaves, **window)
    grad_y = _grad_like(y, dtype)
    backward = case("conv2d_backward", grad_y, *values[:2], **window)
    return [
        Call("conv2d", forward, rounded([y], dtype)),
        Call("conv2d_backward", backward, rounded(gradients(y, leaves, grad_y), dtype)),
    ]


def max_pool2d(function: Any, x: Any, *, return_indices: bool = False, **window: Any) -> list[Call]:
    """Compare the indices too, whether the sample asks for them or not."""
    values, source = array(x), leaf(x)
    forward = case("max_pool2d", values, **window)
    y, indices = function(source, **window, return_indices=True)
    places = array(indices).astype(np.int32)
    grad_y = _grad_like(y, values.dtype)
    grads = rounded(gradients(y, [source], grad_y), values.dtype)
    return [
        Call("max_pool2d", forward, (*rounded([y], values.dtype), places)),
        Call(
            "max_pool2d_backward",
            case("max_pool2d_backward", grad_y, places, values.shape),
            grads,
        ),
    ]


def avg_pool2d(
    function: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> list[Call]:
    values = array(x)
    window = {
        "kernel_size": one_or_two(kernel_size),
        "stride": one_or_two(stride),
        "padding": one_or_two(padding),
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
        "divisor_override": divisor_override,
    }
    forward = case("avg_pool2d", values, **window)
    source = leaf(x)
    y = function(
        source, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    grad_y = _grad_like(y, values.dtype)
    backward = case("avg_pool2d_backward", grad_y, values.shape, **window)
    return [
        Call("avg_pool2d", forward, rounded([y], values.dtype)),
        Call(
            "avg_pool2d_backward", backward, rounded(gradients(y, [source], grad_y), values.dtype)
        ),
    ]


def batch_norm(
    function: Any,
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> list[Call]:
    values, scale, shift = _arrays(x, weight, bias)
    dtype = values.dtype
    if training:
        forward = case("batch_norm", values, scale, shift, eps=eps)
    else:
        statistics = _arrays(running_mean, running_var)
        forward = case("batch_norm_inference", values, scale, shift, *statistics, eps=eps)
    constants = [leaf(running_mean), leaf(running_var)]
    constants = [None if c is None else c.detach() for c in constants]
    # Without a bias, PyTorch's gradient of one is taken at zeros.
    leaves = tuple(map(leaf, (x, weight, torch.zeros(x.shape[1]) if bias is None else bias)))
    y = function(leaves[0], *constants, *leaves[1:], training, momentum, eps)
    grad_y = _grad_like(y, dtype)
    grads = rounded(gradients(y, leaves, grad_y), dtype)
    if not training:
        arguments = (grad_y, values, scale, *statistics)
        backward = case("batch_norm_inference_backward", *arguments, eps=eps)
        return [
            Call("batch_norm_inference", forward, rounded([y], dtype)),
            Call("batch_norm_inference_backward", backward, grads),
        ]
    used = torch.native_batch_norm(*leaves, None, None, True, momentum, eps)[1:]
    mean, rstd = rounded(used, dtype)
    backward = case("batch_norm_backward", grad_y, values, scale, mean, rstd)
    return [
        Call("batch_norm", forward, (*rounded([y], dtype), mean, rstd)),
        Call("batch_norm_backward", backward, grads),
    ]


def linear(function: Any, x: Any, weight: Any, bias: Any = None) -> list[Call]:
    """Leading axes are rows."""
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x
    values = _arrays(rows, weight, bias)
    dtype = values[0].dtype
    forward = case("linear", *values)
    zeros = torch.zeros(len(weight)) if bias is None else bias
    leaves = tuple(map(leaf, (x, weight, zeros)))
    y = function(*leaves)
    grad_y = _grad_like(y, dtype)
    grad_x, *others = gradients(y, leaves, grad_y)
    parts = rounded([grad_x.reshape(rows.shape), *others], dtype)
    backward = case("linear_backward", grad_y.reshape(len(rows), len(weight)), *values[:2])
    return [
        Call("linear", forward, rounded([y.reshape(len(rows), len(weight))], dtype)),
        Call("linear_backward", backward, parts),
    ]


def relu(function: Any, x: Any) -> list[Call]:
    values, source = array(x), leaf(x)
    y = function(source)
    grad_y = _grad_like(y, values.dtype)
    (result,) = rounded([y], values.dtype)
    return [
        Call("relu", case("relu", values), (result,)),
        Call(
            "relu_backward",
            case("relu_backward", grad_y, result),
            rounded(gradients(y, [source], grad_y), values.dtype),
        ),
    ]


def softmax(function: Any, x: Any, dim: int, **options: Any) -> list[Call]:
    """Move the axis to the end; those before it are rows. For the gradient see ``cnn.Softmax``."""
    if options.get("dtype") is x.dtype:
        del options["dtype"]
    rows = _rows(x, dim)
    forward = case("softmax", array(rows), **options)
    y = _rows(function(leaf(x), dim), dim)
    return [Call("softmax", forward, rounded([y], array(x).dtype))]


def _rows(x: Any, axis: int) -> Any:
    """Return (N, K) with K along an axis; a vector stays one."""
    if x.ndim < 2:
        return x
    return x.movedim(axis, -1).reshape(-1, x.shape[axis]) if x.shape[axis] else x.new_empty(0, 0)


def cross_entropy(
    function: Any, logits: Any, labels: Any, reduction: str = "mean", **options: Any
) -> list[Call]:
    """Sums and single losses are compared by their mean, which is what ours returns."""
    rows = _rows(logits, 1)
    flat = labels.reshape(-1) if labels.ndim < logits.ndim else labels
    values = array(rows)
    forward = case("softmax_cross_entropy", values, array(flat), **options)
    source = leaf(logits)
    losses = function(source, labels, reduction=reduction)
    loss = losses if reduction == "mean" else losses.sum() / len(rows)
    (grad,) = gradients(loss, [source], np.ones(()))
    parts = (loss.item(), *rounded([_rows(grad, 1)], values.dtype))
    return [Call("softmax_cross_entropy", forward, parts)]


ADAPTERS: dict[str, Callable[..., list[Call]]] = {
    "nn.functional.conv2d": conv2d,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.linear": linear,
    "nn.functional.relu": relu,
    "softmax": softmax,
    "nn.functional.cross_entropy": cross_entropy,
}
