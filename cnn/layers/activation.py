"""Activations: ReLU and softmax."""

from __future__ import annotations

import kernels
from cnn.arrays import FloatArray
from cnn.layers.base import Layer, Saved


class ReLU(Layer):
    """``max(x, 0)`` of arrays of any shape; see :func:`kernels.relu`."""

    def __init__(self) -> None:
        self._saved: Saved[FloatArray] = Saved("ReLU")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.forward`."""
        y = kernels.relu(x)
        if training:
            self._saved.keep(y)
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.backward`."""
        return kernels.relu_backward(grad_y, self._saved.take())


class Softmax(Layer):
    """Probabilities of each row of (N, K) scores; see :func:`kernels.softmax`.

    A classifier that is to be trained ends without it: :class:`cnn.Trainer`'s loss and
    ``predict_proba`` hold their own.
    """

    def __init__(self) -> None:
        self._saved: Saved[FloatArray] = Saved("Softmax")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, K), each row summing to 1; see :meth:`Layer.forward`."""
        y = kernels.softmax(x)
        if training:
            self._saved.keep(y)
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return ``y · (grad_y - Σ_k grad_y·y)``, (N, K); see :meth:`Layer.backward`."""
        y = self._saved.take()
        gradient: FloatArray = y * (grad_y - (grad_y * y).sum(axis=1, keepdims=True))
        return gradient
