"""ReLU and its gradient, element by element."""

from __future__ import annotations

import math

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.naive.memory import scalars


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """``y = x`` where x is positive or NaN, 0 elsewhere."""
    values = scalars(x)
    for place in np.ndindex(x.shape):
        value = values[place]
        out[place] = value if value > 0 or math.isnan(value) else 0.0


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """``grad_x = grad_y`` where y is positive or NaN, 0 elsewhere."""
    grad, values = scalars(grad_y), scalars(y)
    for place in np.ndindex(y.shape):
        value = values[place]
        out[place] = grad[place] if value > 0 or math.isnan(value) else 0.0
