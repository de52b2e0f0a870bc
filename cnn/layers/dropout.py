"""Dropout: noise that keeps units from relying on each other."""

from __future__ import annotations

import numpy as np

from cnn.arrays import FloatArray
from cnn.layers.base import Layer, Saved
from kernels.ops import checks


class Dropout(Layer):
    """Zero each element with probability p in training, and divide the others by ``1 - p``.

    Srivastava et al., "Dropout" (JMLR 15, 2014), scaled in training as in PyTorch, so that
    inference passes x on.

    Parameters
    ----------
    p : float
        Probability of a zero, from 0 to 1.
    rng : numpy.random.Generator or int, optional
        Draws which elements; a fresh one if left out. Its state is part of a checkpoint. The draw
        depends on the shape alone, so that all backends and memory layouts drop the same elements.

    Raises
    ------
    kernels.ShapeError, TypeError
        If p does not fit.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = checks.number("p", p, largest=1.0)
        self._rng = np.random.default_rng(rng)
        self._saved: Saved[FloatArray] = Saved("Dropout")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.forward`."""
        if not training:
            return x
        kept = self._rng.random(x.shape, dtype=np.float32) >= self.p
        scale = kept * x.dtype.type(0.0 if self.p == 1 else 1 / (1 - self.p))
        self._saved.keep(scale)
        y: FloatArray = x * scale
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.backward`."""
        grad_x: FloatArray = grad_y * self._saved.take()
        return grad_x

    def named_generators(self) -> dict[str, np.random.Generator]:
        """Return ``rng``."""
        return {"rng": self._rng}
