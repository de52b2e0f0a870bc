"""Small networks, data and trainers that every backend, naive too, trains on in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np

import cnn
from cnn.arrays import FloatArray
from cnn.data import Split


def small_net(seed: int = 0, dtype: str = "float64") -> cnn.Sequential:
    """Every kind of layer of ``mnist_cnn``, for images (1, 4, 4) and 3 classes."""
    rng = np.random.default_rng(seed)
    return cnn.Sequential(
        cnn.Conv2d(1, 2, 3, padding=1, rng=rng, dtype=dtype),
        cnn.BatchNorm2d(2, dtype=dtype),
        cnn.ReLU(),
        cnn.Conv2d(2, 3, 3, padding=1, rng=rng, dtype=dtype),
        cnn.BatchNorm2d(3, dtype=dtype),
        cnn.ReLU(),
        cnn.MaxPool2d(2),
        cnn.Flatten(),
        cnn.Linear(12, 5, rng=rng, dtype=dtype),
        cnn.BatchNorm1d(5, dtype=dtype),
        cnn.ReLU(),
        cnn.Linear(5, 3, rng=rng, dtype=dtype),
    )


def stripes(images: int, seed: int = 0) -> Split:
    """Noisy images (1, 4, 4) of three classes: a bright row 0, row 2 or column 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(images) % 3
    x: FloatArray = rng.random((images, 1, 4, 4)) * 0.2
    for image, label in zip(x, y, strict=True):
        image[0, (0, 2, slice(None))[label], (slice(None), slice(None), 1)[label]] += 0.8
    return Split(x, y)


def trainer(model: cnn.Sequential | None = None, **arguments: Any) -> cnn.Trainer:
    return cnn.Trainer(small_net() if model is None else model, backend="numpy", **arguments)
