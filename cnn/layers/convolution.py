"""2-D convolution as a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import kernels
from cnn.arrays import FloatArray, IntPair, Padding, float_dtype
from cnn.layers.base import Layer, Saved
from cnn.layers.initialization import he_uniform
from cnn.parameter import Parameter
from kernels.ops import checks


class Conv2d(Layer):
    """Convolution of (N, C, H, W) images with a bank of filters; see :func:`kernels.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, padding, dilation, groups
        As for :func:`kernels.conv2d`, which checks all but the kernel size and groups when x comes.
    bias : bool
        Add a bias to each output channel.
    rng : numpy.random.Generator, optional
        Draws the weights; a fresh one if left out.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, (O, C / groups, KH, KW)
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
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: Padding = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = "float32",
    ) -> None:
        C = checks.integer("in_channels", in_channels, 1)
        O = checks.integer("out_channels", out_channels, 1)
        KH, KW = checks.pair("kernel_size", kernel_size, 1)
        self.groups = checks.integer("groups", groups, 1)
        if C % self.groups or O % self.groups:
            raise kernels.ShapeError(
                f"groups must divide in_channels {C} and out_channels {O}, got {groups!r}"
            )
        self.stride, self.padding, self.dilation = stride, padding, dilation
        element = float_dtype(dtype)
        shape = (O, C // self.groups, KH, KW)
        self.weight = Parameter(he_uniform(shape, np.random.default_rng(rng), element))
        self.bias = Parameter(np.zeros(O, element)) if bias else None
        self._saved: Saved[FloatArray] = Saved("Conv2d")

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return (N, O, OH, OW); see :meth:`Layer.forward`."""
        y = kernels.conv2d(
            x,
            self.weight.data,
            None if self.bias is None else self.bias.data,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if training:
            self._saved.keep(x)
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return (N, C, H, W); see :meth:`Layer.backward`."""
        grad_x, self.weight.grad, grad_bias = kernels.conv2d_backward(
            grad_y,
            self._saved.take(),
            self.weight.data,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        if self.bias is not None:
            self.bias.grad = grad_bias
        return grad_x

    def named_parameters(self) -> dict[str, Parameter]:
        """Return ``weight`` and, if there is one, ``bias``."""
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
