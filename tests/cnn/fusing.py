"""Trainers that fuse, and layers that look into a fused pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
from tests.cnn.networks import NETWORKS, build

MODELS = [*NETWORKS, "mnist_cnn", "lenet5", "resnet20"]
FAST = ["numpy", pytest.param("numba", marks=pytest.mark.compiled)]


def trainers(
    name: str, backend: str, dtype: str = "float64", **arguments: Any
) -> tuple[cnn.Trainer, cnn.Trainer, tuple[int, ...]]:
    """Return a fused and an unfused trainer of the same network."""
    model, image = build(name, dtype)
    pair = [
        cnn.Trainer(copy.deepcopy(model), backend=backend, fuse=fuse, **arguments)
        for fuse in (True, False)
    ]
    return pair[0], pair[1], image


class Calling(cnn.Layer):
    """Runs something in the middle of a pass."""

    def __init__(self, call: Callable[[], Any] = lambda: None) -> None:
        self.call = call

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        if len(x):
            self.call()
        return x

    def backward(self, grad_y: np.ndarray) -> np.ndarray:
        return grad_y
