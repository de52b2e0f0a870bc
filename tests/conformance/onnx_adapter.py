"""ONNX operators (https://onnx.ai/onnx/operators) in terms of ``kernels`` and ``cnn``.

Thin: attributes are renamed, axes moved to where ours are, 1-D images get a height of 1. What is
not supported is passed on under its name all the same, for the public function to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cnn
import kernels

Attributes = dict[str, Any]
Outputs = tuple[Any, ...]


def run(operator: str, attributes: Attributes, inputs: list[Any], outputs: int) -> Outputs:
    """Run an operator on the current backend; return its first outputs."""
    return OPERATORS[operator](attributes, *inputs)[:outputs]


def _window(attributes: Attributes, spatial: int) -> dict[str, Any]:
    """Return stride, padding and dilation for the last two axes."""
    ones = [1] * spatial
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    pads = attributes.get("pads", [0] * (2 * spatial))
    padding: Any = tuple(zip(pads[:spatial], pads[spatial:], strict=True))
    if spatial == 1:
        strides, dilations, padding = [1, *strides], [1, *dilations], ((0, 0), *padding)
    name = attributes.get("auto_pad", b"NOTSET").decode().lower()
    window = {"stride": tuple(strides), "padding": padding if name == "notset" else name}
    return window | ({"dilation": tuple(dilations)} if max(dilations) > 1 else {})


def _pool(attributes: Attributes, x: Any) -> tuple[Any, dict[str, Any]]:
    """Return images with two spatial axes or more, and the window."""
    spatial = x.ndim - 2
    kernel = list(attributes["kernel_shape"])
    images = x[:, :, None] if spatial == 1 else x
    window = _window(attributes, spatial) | {"ceil_mode": bool(attributes.get("ceil_mode", 0))}
    return images, window | {"kernel_size": tuple([1, *kernel] if spatial == 1 else kernel)}


def _like(y: Any, x: Any) -> Any:
    return y[:, :, 0] if x.ndim == 3 else y


def conv(attributes: Attributes, x: Any, weight: Any, bias: Any = None) -> Outputs:
    window = _window(attributes, x.ndim - 2)
    images, filters = (x[:, :, None], weight[:, :, None]) if x.ndim == 3 else (x, weight)
    y = kernels.conv2d(images, filters, bias, groups=attributes.get("group", 1), **window)
    return (_like(y, x),)


def max_pool(attributes: Attributes, x: Any) -> Outputs:
    images, window = _pool(attributes, x)
    y, indices = kernels.max_pool2d(images, **window)
    return _like(y, x), _like(_flat_in_tensor(attributes, indices, images.shape), x)


def _flat_in_tensor(attributes: Attributes, indices: Any, shape: tuple[int, ...]) -> Any:
    """Turn places in a plane into places in the whole tensor, columns first if wanted."""
    N, C, H, W = shape
    places = indices.astype(np.int64)
    if attributes.get("storage_order", 0):
        places = places % W * H + places // W
    return places + np.arange(N * C).reshape(N, C, 1, 1) * (H * W)


def average_pool(attributes: Attributes, x: Any) -> Outputs:
    images, window = _pool(attributes, x)
    include = bool(attributes.get("count_include_pad", 0))
    return (_like(kernels.avg_pool2d(images, count_include_pad=include, **window), x),)


def global_average_pool(attributes: Attributes, x: Any) -> Outputs:
    return (kernels.global_avg_pool2d(x),)


def global_max_pool(attributes: Attributes, x: Any) -> Outputs:
    return (kernels.max_pool2d(x, x.shape[2:]).y,)


def batch_normalization(
    attributes: Attributes, x: Any, weight: Any, bias: Any, mean: Any, var: Any
) -> Outputs:
    """Running variance: ONNX takes the biased one, unlike PyTorch's and our layers."""
    eps = attributes.get("epsilon", 1e-5)
    if not attributes.get("training_mode", 0):
        return (kernels.batch_norm_inference(x, weight, bias, mean, var, eps=eps),)
    y, batch_mean, rstd = kernels.batch_norm(x, weight, bias, eps=eps)
    momentum = attributes.get("momentum", 0.9)
    batch_var = 1 / rstd**2 - eps
    tracked = (
        (momentum * old + (1 - momentum) * new).astype(x.dtype)
        for old, new in ((mean, batch_mean), (var, batch_var))
    )
    return (y, *tracked)


def gemm(attributes: Attributes, a: Any, b: Any, c: Any = None) -> Outputs:
    """A matrix for a bias is added afterwards: ours is a vector."""
    dtype = a.dtype.type
    rows = (a.T if attributes.get("transA", 0) else a) * dtype(attributes.get("alpha", 1.0))
    weight = b if attributes.get("transB", 0) else b.T
    bias = None if c is None else c * dtype(attributes.get("beta", 1.0))
    if bias is None:
        return (kernels.linear(rows, weight),)
    if bias.ndim == 2 and len(bias) > 1:
        return (kernels.linear(rows, weight) + bias,)
    vector = np.broadcast_to(bias.reshape(-1), len(weight))
    return (kernels.linear(rows, weight, vector),)


def relu(attributes: Attributes, x: Any) -> Outputs:
    return (kernels.relu(x),)


def softmax(attributes: Attributes, x: Any) -> Outputs:
    return (_along(kernels.softmax, x, attributes.get("axis", -1)),)


def log_softmax(attributes: Attributes, x: Any) -> Outputs:
    return (_along(kernels.log_softmax, x, attributes.get("axis", -1)),)


def _along(function: Callable[[Any], Any], x: Any, axis: int) -> Any:
    """Apply a function of (N, K) rows along an axis."""
    moved = np.moveaxis(x, axis, -1)
    rows = function(moved.reshape(-1, moved.shape[-1]))
    return np.moveaxis(rows.reshape(moved.shape), -1, axis)


def softmax_cross_entropy_loss(
    attributes: Attributes, x: Any, labels: Any, weights: Any = None
) -> Outputs:
    """A sum is N means, and losses one by one are means over batches of one."""
    unsupported = {} if weights is None else {"weight": weights}
    if "ignore_index" in attributes:
        unsupported["ignore_index"] = attributes["ignore_index"]
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    flat = labels.reshape(-1)
    log_prob = log_softmax({"axis": 1}, x)[0]
    reduction = attributes.get("reduction", b"mean")
    if reduction == b"none":
        losses = [
            kernels.softmax_cross_entropy(rows[i : i + 1], flat[i : i + 1], **unsupported).mean_loss
            for i in range(len(flat))
        ]
        return np.asarray(losses, x.dtype).reshape(labels.shape), log_prob
    mean = kernels.softmax_cross_entropy(rows, flat, **unsupported).mean_loss
    loss = mean * len(flat) if reduction == b"sum" else mean
    return np.asarray(loss, x.dtype), log_prob


def flatten(attributes: Attributes, x: Any) -> Outputs:
    axis = attributes.get("axis", 1) % x.ndim
    options = {} if axis == 1 else {"axis": axis}
    return (cnn.Flatten(**options).forward(x, training=False),)


OPERATORS: dict[str, Callable[..., Outputs]] = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "BatchNormalization": batch_normalization,
    "Gemm": gemm,
    "Relu": relu,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy_loss,
    "Flatten": flatten,
}
