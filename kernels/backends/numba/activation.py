"""ReLU and its gradient."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """Write ``maximum(x, 0)``, which keeps NaN."""
    np.maximum(x, 0, out=out)


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """Write 0 where ``y <= 0``, which is false for NaN."""
    out[...] = grad_y
    np.copyto(out, 0, where=y <= 0)
