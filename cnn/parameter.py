"""A trainable array and its gradient."""

from __future__ import annotations

import numpy as np

from cnn.arrays import FloatArray
from cnn.changes import Watched


class Parameter(Watched):
    """A trainable array and the gradient that the last backward pass gave it.

    Attributes
    ----------
    data : array of float32 or float64
        The values. Optimisers and ``load_state_dict`` write into it and never replace it.
    grad : array of data's shape and dtype, or None
        Gradient of the loss. Each backward pass sets it anew (it does not add to it), and may write
        it into the same array; None before the first.
    """

    __slots__ = ("data", "grad")

    def __init__(self, data: FloatArray) -> None:
        self.data = data
        self.grad: FloatArray | None = None

    def grad_array(self) -> FloatArray:
        """Return ``grad``, to be written over: the last pass's C-contiguous array, or a new one."""
        data, grad = self.data, self.grad
        if (
            grad is None
            or grad.shape != data.shape
            or grad.dtype != data.dtype
            or not (grad.flags.c_contiguous and grad.flags.writeable)
        ):
            grad = self.grad = np.empty(data.shape, data.dtype)
        return grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"
