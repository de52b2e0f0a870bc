"""ReLU and its gradient, element by element."""

from __future__ import annotations

import math

import numpy as np

from kernels.backends.contract import FloatArray


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """``y = x`` where x is positive or NaN, 0 elsewhere."""
    for place in np.ndindex(x.shape):
        value = float(x[place])
        out[place] = value if value > 0 or math.isnan(value) else 0.0


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """``grad_x = grad_y`` where y is positive or NaN, 0 elsewhere."""
    for place in np.ndindex(y.shape):
        value = float(y[place])
        out[place] = grad_y[place] if value > 0 or math.isnan(value) else 0.0
