"""The numbers that every contestant computes with: drawn once per case, the same for all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case_types import Case, ConvCase, LinearCase, NetworkCase
from cnn import models

Array = NDArray[Any]

CLASSES = 10
LEARNING_RATE = 0.01


def draw(*shapes: tuple[int, ...]) -> list[Array]:
    """Return standard normal float32 arrays, from a seed of their own."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def convolution(case: ConvCase) -> list[Array]:
    """Return x, weight, bias and grad_y."""
    return draw(case.x_shape, case.weight_shape, (case.O,), case.y_shape)


def linear(case: LinearCase) -> list[Array]:
    """Return x, weight, bias and grad_y."""
    return draw((case.N, case.I), (case.O, case.I), (case.O,), (case.N, case.O))


def batch_norm(case: Case) -> list[Array]:
    """Return x, weight, bias, running mean, running variance (positive) and grad_y."""
    channels = case.x_shape[1:2]
    x, weight, bias, mean, spread, grad_y = draw(case.x_shape, *[channels] * 4, case.x_shape)
    return [x, weight, bias, mean, spread**2 + 1, grad_y]


def network(case: NetworkCase) -> tuple[Array, Array, Any]:
    """Return images, labels and the model, whose weights come from its seed."""
    (x,) = draw(case.x_shape)
    labels = np.random.default_rng(1).integers(0, CLASSES, case.N)
    model = models.create(
        case.model, input_shape=case.input_shape, num_classes=CLASSES, seed=0, dtype="float32"
    )
    return x, labels, model
