"""Every operation, and a training run, on shapes that are worth several threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

import cnn
import kernels
from tests.kernels.comparing import random

WINDOW = dict(stride=2, padding=1)


def calls(dtype: str, size: int = 0) -> dict[str, Callable[[], Any]]:
    """Every public operation on arguments of its own; ``size`` changes their shapes."""
    N, C, O, S = 12, 5 + size, 19 + size, 31 + size
    x, weight, grad_y = random(0, dtype, (N, C, S, S), (O, C, 3, 3), (N, O, *[(S + 1) // 2] * 2))
    rows, matrix, grad_rows = random(1, dtype, (300 + size, 70), (41, 70), (300 + size, 41))
    scale, shift, mean = random(2, dtype, (C,), (C,), (C,))
    labels = np.arange(len(rows)) % 41
    pooled = kernels.max_pool2d(x, 2)
    return {
        "conv2d": lambda: kernels.conv2d(x, weight, **WINDOW),
        "conv2d_backward": lambda: kernels.conv2d_backward(grad_y, x, weight, **WINDOW),
        "conv2d_backward_input": lambda: kernels.conv2d_backward_input(
            grad_y, weight, x.shape, **WINDOW
        ),
        "conv2d_backward_weight": lambda: kernels.conv2d_backward_weight(
            grad_y, x, weight.shape, **WINDOW
        ),
        "max_pool2d": lambda: kernels.max_pool2d(x, 3, stride=1),
        "max_pool2d_backward": lambda: kernels.max_pool2d_backward(*pooled, x.shape),
        "avg_pool2d": lambda: kernels.avg_pool2d(x, 3, **WINDOW),
        "avg_pool2d_backward": lambda: kernels.avg_pool2d_backward(
            x[:, :, ::2, ::2], x.shape, 3, **WINDOW
        ),
        "global_avg_pool2d": lambda: kernels.global_avg_pool2d(x),
        "global_avg_pool2d_backward": lambda: kernels.global_avg_pool2d_backward(
            x[:, :, :1, :1], x.shape
        ),
        "batch_norm": lambda: kernels.batch_norm(x, scale, shift),
        "batch_norm_backward": lambda: kernels.batch_norm_backward(x[::-1], x, scale, mean, shift),
        "batch_norm_inference": lambda: kernels.batch_norm_inference(
            x, scale, shift, mean, scale**2
        ),
        "batch_norm_inference_backward": lambda: kernels.batch_norm_inference_backward(
            x[::-1], x, scale, mean, scale**2
        ),
        "linear": lambda: kernels.linear(rows, matrix),
        "linear_backward": lambda: kernels.linear_backward(grad_rows, rows, matrix),
        "relu": lambda: kernels.relu(x),
        "relu_backward": lambda: kernels.relu_backward(x[::-1], x),
        "softmax": lambda: kernels.softmax(grad_rows),
        "log_softmax": lambda: kernels.log_softmax(grad_rows),
        "softmax_cross_entropy": lambda: kernels.softmax_cross_entropy(grad_rows, labels),
    }


def digest(result: Any) -> str:
    """Name the bits of an array, or of all parts of a result."""
    parts = result if isinstance(result, tuple) else (result,)
    content = b"".join(f"{np.shape(p)}".encode() + np.asarray(p).tobytes() for p in parts)
    return hashlib.sha256(content).hexdigest()[:16]


def digests(dtype: str, size: int = 0) -> dict[str, str]:
    """Run every operation."""
    return {name: digest(call()) for name, call in calls(dtype, size).items()}


def training_run() -> str:
    """Train the MNIST CNN for a few steps; name the bits of its losses and of its state."""
    data = cnn.data.load("mnist-subset")
    model = cnn.models.mnist_cnn(seed=0)
    trainer = cnn.Trainer(model)
    split = (data.train.x[:205], data.train.y[:205])
    history = trainer.fit(split, (data.test.x[:50], data.test.y[:50]), epochs=2, batch_size=32)
    losses = [np.array([epoch["train_loss"], epoch["test_loss"]]) for epoch in history]
    return digest((*losses, *model.state_dict().values()))
