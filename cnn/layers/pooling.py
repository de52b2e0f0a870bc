"""Max-pooling and average-pooling as layers."""

from __future__ import annotations

from typing import Any

import kernels
from cnn.arrays import FloatArray, IntArray, IntPair, Padding
from cnn.layers.base import Layer, Saved
from kernels.ops import checks


class MaxPool2d(Layer):
    """Largest element of each window of (N, C, H, W) images; see :func:`kernels.max_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Taps of the window.
    stride : int or (int, int), optional
        Steps between windows; the kernel size if left out.
    padding
        As for :func:`kernels.max_pool2d`, which checks it and the stride when x comes.

    Raises
    ------
    kernels.ShapeError, TypeError
        If the kernel size does not fit.
    """

    def __init__(
        self, kernel_size: IntPair, stride: IntPair | None = None, padding: Padding = 0
    ) -> None:
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride, self.padding = stride, padding
        self._saved: Saved[tuple[IntArray, tuple[int, int, int, int]]] = Saved("MaxPool2d")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, C, OH, OW); see :meth:`Layer.forward`."""
        y, indices = kernels.max_pool2d(
            x, self.kernel_size, stride=self.stride, padding=self.padding
        )
        if training:
            N, C, H, W = x.shape
            self._saved.keep((indices, (N, C, H, W)))
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, C, H, W); see :meth:`Layer.backward`."""
        indices, x_shape = self._saved.take()
        return kernels.max_pool2d_backward(grad_y, indices, x_shape)


class AvgPool2d(Layer):
    """Mean of each window of (N, C, H, W) images; see :func:`kernels.avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Taps of the window.
    stride : int or (int, int), optional
        Steps between windows; the kernel size if left out.
    padding, ceil_mode, count_include_pad, divisor_override
        As for :func:`kernels.avg_pool2d`, which checks them and the stride when x comes.

    Raises
    ------
    kernels.ShapeError, TypeError
        If the kernel size does not fit.
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = checks.pair("kernel_size", kernel_size, 1)
        self.stride, self.padding, self.ceil_mode = stride, padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override
        self._saved: Saved[tuple[int, int, int, int]] = Saved("AvgPool2d")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, C, OH, OW); see :meth:`Layer.forward`."""
        y = kernels.avg_pool2d(x, self.kernel_size, **self._window())
        if training:
            N, C, H, W = x.shape
            self._saved.keep((N, C, H, W))
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, C, H, W); see :meth:`Layer.backward`."""
        shape = self._saved.take()
        return kernels.avg_pool2d_backward(grad_y, shape, self.kernel_size, **self._window())

    def _window(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
            "divisor_override": self.divisor_override,
        }


class GlobalAvgPool2d(Layer):
    """Mean of each plane of (N, C, H, W) images; see :func:`kernels.global_avg_pool2d`.

    PyTorch's ``AdaptiveAvgPool2d(1)``: a :class:`cnn.Flatten` follows before linear layers.
    """

    def __init__(self) -> None:
        self._saved: Saved[tuple[int, int, int, int]] = Saved("GlobalAvgPool2d")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, C, 1, 1); see :meth:`Layer.forward`."""
        y = kernels.global_avg_pool2d(x)
        if training:
            N, C, H, W = x.shape
            self._saved.keep((N, C, H, W))
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, C, H, W); see :meth:`Layer.backward`."""
        return kernels.global_avg_pool2d_backward(grad_y, self._saved.take())
