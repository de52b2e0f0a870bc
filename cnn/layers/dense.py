"""Fully connected layer, and the flattening before it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

import kernels
from cnn.arrays import FloatArray, float_dtype
from cnn.layers.base import Layer, Saved
from cnn.layers.initialization import he_uniform
from cnn.parameter import Parameter
from kernels.ops import checks


class Flatten(Layer):
    """Reshape (N, C, H, W) to (N, C·H·W), in that order whatever the memory layout."""

    def __init__(self) -> None:
        self._saved: Saved[tuple[int, ...]] = Saved("Flatten")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, C·H·W); see :meth:`Layer.forward`."""
        if training:
            self._saved.keep(x.shape)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return the gradient in the input's shape; see :meth:`Layer.backward`."""
        return grad_y.reshape(self._saved.take())


class Linear(Layer):
    """Affine map ``x · weightᵀ + bias`` of (N, I) rows; see :func:`kernels.linear`.

    Parameters
    ----------
    in_features, out_features : int
        I and O.
    bias : bool
        Add a bias.
    rng : numpy.random.Generator, optional
        Draws the weights; a fresh one if left out.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, (O, I)
        He-initialised (:func:`cnn.layers.initialization.he_uniform`).
    bias : Parameter, (O,), or None
        Initially 0.

    Raises
    ------
    kernels.ShapeError, TypeError
        If a size or the dtype does not fit.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        inputs = checks.integer("in_features", in_features, 1)
        outputs = checks.integer("out_features", out_features, 1)
        element = float_dtype(dtype)
        self.weight = Parameter(he_uniform((outputs, inputs), np.random.default_rng(rng), element))
        self.bias = Parameter(np.zeros(outputs, element)) if bias else None
        self._saved: Saved[FloatArray] = Saved("Linear")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, O); see :meth:`Layer.forward`."""
        y = kernels.linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        if training:
            self._saved.keep(x)
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, I); see :meth:`Layer.backward`."""
        x = self._saved.take()
        grad_x, self.weight.grad, grad_bias = kernels.linear_backward(grad_y, x, self.weight.data)
        if self.bias is not None:
            self.bias.grad = grad_bias
        return grad_x

    def named_parameters(self) -> dict[str, Parameter]:
        """Return ``weight`` and, if there is one, ``bias``."""
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
