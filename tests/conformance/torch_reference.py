"""What PyTorch makes of a drawn case: ``reference(operation, case)`` for the cross-check.

Every gradient is PyTorch's autograd of its own forward operation. Windows that PyTorch's pooling
refuses (uneven padding, or more than half the window) are padded before the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from kernels.crosscheck.cases import Case
from tests.conformance.torch_values import gradients, leaf, rounded

F = torch.nn.functional
Parts = tuple[Any, ...]


def reference(operation: str, case: Case) -> Parts:
    """Return the parts of the result, in the dtype of the case."""
    arrays = (a for a in case.arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    parts = PARTS[operation](*case.arguments, **_origin(case), **case.keywords)
    return rounded(parts, next(arrays).dtype)


def _origin(case: Case) -> dict[str, Any]:
    return {} if case.origin is None else {"origin": case.origin}


def _padded(x: Any, padding: Any, value: float) -> Any:
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom), value=value)


# Convolution


def _convolve(x: Any, weight: Any, bias: Any, *, padding: Any, **window: Any) -> Any:
    return F.conv2d(_padded(x, padding, 0.0), weight, bias, **window)


def conv2d(x: Any, weight: Any, bias: Any, **window: Any) -> Parts:
    return (_convolve(leaf(x), leaf(weight), leaf(bias), **window),)


def conv2d_backward(grad_y: Any, x: Any, weight: Any, **window: Any) -> Parts:
    leaves = tuple(map(leaf, (x, weight, np.zeros(len(weight)))))
    return gradients(_convolve(*leaves, **window), leaves, grad_y)


def conv2d_backward_input(grad_y: Any, weight: Any, x_shape: Any, **window: Any) -> Parts:
    return conv2d_backward(grad_y, np.zeros(x_shape), weight, **window)[:1]


def conv2d_backward_weight(grad_y: Any, x: Any, weight_shape: Any, **window: Any) -> Parts:
    return conv2d_backward(grad_y, x, np.zeros(weight_shape), **window)[1:2]


# Pooling


def _taken_by_torch(kernel_size: Any, padding: Any) -> bool:
    return all(
        before == after <= taps // 2
        for taps, (before, after) in zip(kernel_size, padding, strict=True)
    )


def max_pool2d(x: Any, **window: Any) -> Parts:
    y, indices = _max_pool(leaf(x), **window)
    return y, indices.to(torch.int32)


def max_pool2d_backward(grad_y: Any, indices: Any, x_shape: Any, *, origin: Case) -> Parts:
    x = leaf(origin.arguments[0])
    return gradients(_max_pool(x, **origin.keywords)[0], [x], grad_y)


def _max_pool(x: Any, *, padding: Any, **window: Any) -> Any:
    if _taken_by_torch(window["kernel_size"], padding):
        even = tuple(before for before, _ in padding)
        return F.max_pool2d(x, padding=even, return_indices=True, **window)
    # Only the order of the values counts: ranks instead of them leave -inf to the padding alone.
    ranks = torch.unique(x.detach(), return_inverse=True)[1]
    ranks = torch.where(x.isnan(), torch.nan, ranks.to(x.dtype))
    _, places = F.max_pool2d(_padded(ranks, padding, -torch.inf), return_indices=True, **window)
    places = places[:, :, : _outputs(x, padding, window, 0), : _outputs(x, padding, window, 1)]
    (top, _), (left, right) = padding
    W = x.shape[3]
    row, column = places // (W + left + right) - top, places % (W + left + right) - left
    indices = row * W + column
    return x.flatten(2).gather(2, indices.flatten(2)).view(indices.shape), indices


def _outputs(x: Any, padding: Any, window: dict[str, Any], axis: int) -> int:
    """Return the output size by PyTorch's rule, which a padded image does not show any more.

    https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html: rounded up in
    ceil_mode, but windows that would start in the padding at the end are left out.
    """
    size, (before, after) = x.shape[2 + axis], padding[axis]
    stride = window["stride"][axis]
    span = window.get("dilation", (1, 1))[axis] * (window["kernel_size"][axis] - 1) + 1
    starts = range(0, size + before + after - span + 1, stride)
    more = window["ceil_mode"] and len(starts) * stride < size + before
    even = (size + before + after - span) % stride == 0
    return len(starts) + int(more and not even)


def avg_pool2d(x: Any, **window: Any) -> Parts:
    return (_avg_pool(leaf(x), **window),)


def avg_pool2d_backward(grad_y: Any, x_shape: Any, **window: Any) -> Parts:
    x = leaf(np.zeros(x_shape))
    return gradients(_avg_pool(x, **window), [x], grad_y)


def _avg_pool(
    x: Any, *, padding: Any, count_include_pad: bool, divisor_override: Any, **window: Any
) -> Any:
    if _taken_by_torch(window["kernel_size"], padding):
        return F.avg_pool2d(
            x,
            padding=tuple(before for before, _ in padding),
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
            **window,
        )
    padded = _padded(x, padding, 0.0)
    if divisor_override is not None or count_include_pad:
        y = F.avg_pool2d(padded, divisor_override=divisor_override, **window)
    else:
        inside = _padded(torch.ones_like(x), padding, 0.0)
        counts = F.avg_pool2d(inside, divisor_override=1, **window)
        y = F.avg_pool2d(padded, divisor_override=1, **window) / counts
    return y[:, :, : _outputs(x, padding, window, 0), : _outputs(x, padding, window, 1)]


def global_avg_pool2d(x: Any) -> Parts:
    return (F.adaptive_avg_pool2d(leaf(x), 1),)


def global_avg_pool2d_backward(grad_y: Any, x_shape: Any) -> Parts:
    x = leaf(np.zeros(x_shape))
    return gradients(F.adaptive_avg_pool2d(x, 1), [x], grad_y)


# Batch-norm


def batch_norm(x: Any, weight: Any, bias: Any) -> Parts:
    return torch.native_batch_norm(
        leaf(x), leaf(weight), leaf(bias), None, None, True, 0.1, eps=1e-5
    )


def batch_norm_backward(grad_y: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> Parts:
    leaves = tuple(map(leaf, (x, weight, np.zeros(x.shape[1]))))
    y = F.batch_norm(leaves[0], None, None, *leaves[1:], training=True)
    return gradients(y, leaves, grad_y)


def batch_norm_inference(x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Parts:
    statistics = (leaf(mean).detach(), leaf(var).detach())
    return (F.batch_norm(leaf(x), *statistics, leaf(weight), leaf(bias)),)


def batch_norm_inference_backward(grad_y: Any, x: Any, weight: Any, mean: Any, var: Any) -> Parts:
    leaves = tuple(map(leaf, (x, weight, np.zeros(x.shape[1]))))
    statistics = (leaf(mean).detach(), leaf(var).detach())
    return gradients(F.batch_norm(leaves[0], *statistics, *leaves[1:]), leaves, grad_y)


# Linear layers, activations, losses


def linear(x: Any, weight: Any, bias: Any) -> Parts:
    return (F.linear(leaf(x), leaf(weight), leaf(bias)),)


def linear_backward(grad_y: Any, x: Any, weight: Any) -> Parts:
    leaves = tuple(map(leaf, (x, weight, np.zeros(len(weight)))))
    return gradients(F.linear(*leaves), leaves, grad_y)


def relu(x: Any) -> Parts:
    return (F.relu(leaf(x)),)


def relu_backward(grad_y: Any, y: Any) -> Parts:
    x = leaf(y)
    return gradients(F.relu(x), [x], grad_y)


def softmax(logits: Any) -> Parts:
    return (F.softmax(leaf(logits), dim=1),)


def log_softmax(logits: Any) -> Parts:
    return (F.log_softmax(leaf(logits), dim=1),)


def softmax_cross_entropy(logits: Any, labels: Any) -> Parts:
    source = leaf(logits)
    loss = F.cross_entropy(source, torch.from_numpy(labels.astype(np.int64)))
    return loss.item(), *gradients(loss, [source], np.ones(()))


PARTS: dict[str, Callable[..., Parts]] = {
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
