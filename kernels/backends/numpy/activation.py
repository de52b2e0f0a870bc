"""ReLU and its gradient."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """Write ``maximum(x, 0)``, which keeps NaN."""
    np.maximum(x, 0, out=out)


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """Clear the bits of the gradient where ``y <= 0``, which is false for NaN.

    Exact where the gradient is infinite, unlike a product; and a tenth of the time of
    ``copyto(..., where=)``, which stumbles over random masks.
    """
    bits = np.dtype(f"i{y.itemsize}")
    keep = np.subtract(y <= 0, 1, dtype=bits)  # 0 or, in all bits, 1
    np.bitwise_and(grad_y.view(bits), keep, out=out.view(bits))
