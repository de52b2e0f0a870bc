"""Residual addition, and the parameter-free shortcut that changes sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.layers.base import Layer, Saved
from cnn.layers.composite import Composite
from kernels.ops import checks


class Residual(Composite):
    """``body(x) + shortcut(x)`` (He, Zhang, Ren & Sun, arXiv:1512.03385, section 3.2).

    What follows the addition, a ReLU say, is the next layer of the model. The state has the names
    of a PyTorch module with the submodules ``body`` and ``shortcut``.

    Parameters
    ----------
    body : Layer
        The residual function; usually a :class:`cnn.Sequential`.
    shortcut : Layer, optional
        What x goes through on its way round the body; nothing if left out. A
        :class:`PaddedShortcut`, or a 1×1 convolution and a batch-norm, where the body changes
        sizes.

    Raises
    ------
    TypeError
        If something else than layers was given.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        for name, layer in (("body", body), ("shortcut", shortcut)):
            if not isinstance(layer, Layer) and (layer is not None or name == "body"):
                raise TypeError(f"{name} must be a cnn.Layer, got {layer!r}")
        self.body, self.shortcut = body, shortcut

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return an array of the body's output shape; see :meth:`Layer.forward`."""
        y = self.body.forward(x, training=training)
        around = x if self.shortcut is None else self.shortcut.forward(x, training=training)
        if y.shape != around.shape:
            raise kernels.ShapeError(
                f"Residual adds arrays of one shape, but body gives {y.shape} "
                f"and the shortcut {around.shape}"
            )
        total: FloatArray = y + around
        return total

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.backward`."""
        grad_x = self.body.backward(grad_y)
        around = grad_y if self.shortcut is None else self.shortcut.backward(grad_y)
        total: FloatArray = grad_x + around
        return total

    def named_children(self) -> dict[str, Layer]:
        """Return ``body`` and, if there is one, ``shortcut``."""
        return {"body": self.body} | ({} if self.shortcut is None else {"shortcut": self.shortcut})


class PaddedShortcut(Layer):
    """Every ``stride``-th pixel, with channels of zeros added behind the others.

    "Option A" of arXiv:1512.03385, section 3.3: a shortcut without parameters where a residual
    body halves the image and doubles the channels.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O; O is C or more.
    stride : int
        Steps between the pixels that are kept, in both directions, from the first on.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.in_channels = checks.integer("in_channels", in_channels, 1)
        self.out_channels = checks.integer("out_channels", out_channels, self.in_channels)
        self.stride = checks.integer("stride", stride, 1)
        self._saved: Saved[tuple[int, ...]] = Saved("PaddedShortcut")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, O, ceil(H / stride), ceil(W / stride)); see :meth:`Layer.forward`."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise kernels.ShapeError(
                f"PaddedShortcut takes x (N, {self.in_channels}, H, W), got shape {x.shape}"
            )
        kept = x[:, :, :: self.stride, :: self.stride]
        N, C, OH, OW = kept.shape
        y = _zeros((N, self.out_channels, OH, OW), x.dtype)
        y[:, :C] = kept
        if training:
            self._saved.keep(x.shape)
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, C, H, W); see :meth:`Layer.backward`."""
        grad_x = _zeros(self._saved.take(), grad_y.dtype)
        grad_x[:, :, :: self.stride, :: self.stride] = grad_y[:, : self.in_channels]
        return grad_x


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> FloatArray:
    """Return channels-last zeros of shape (N, C, H, W), the layout of what they are added to."""
    N, C, H, W = shape
    return np.zeros((N, H, W, C), dtype).transpose(0, 3, 1, 2)
