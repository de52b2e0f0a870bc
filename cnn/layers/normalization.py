"""Batch normalization as layers, with the running statistics that inference uses."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

import kernels
from cnn.arrays import AnyArray, FloatArray, float_dtype
from cnn.layers.base import Layer, Saved
from cnn.parameter import Parameter
from kernels.lazy import Running, follow
from kernels.ops import checks


class BatchNorm(Layer):
    """What :class:`BatchNorm1d` and :class:`BatchNorm2d` share: all but the shapes they take.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias`` for each channel (Ioffe & Szegedy,
    arXiv:1502.03167); see :func:`kernels.batch_norm`. Training takes mean and biased variance from
    the batch and moves the running ones towards them, ``running = (1 - momentum) · running +
    momentum · batch``, the variance unbiased there, as in PyTorch. Inference uses the running ones.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics, from 0 to 1.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter, (C,)
        Initially 1 and 0.
    running_mean, running_var : (C,) arrays
        Initially 0 and 1.
    num_batches_tracked : () array of int64
        Training batches seen.

    Raises
    ------
    kernels.ShapeError, TypeError
        If an argument does not fit.
    """

    shapes: ClassVar[dict[int, str]] = {}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        dtype: DTypeLike = "float32",
    ) -> None:
        C = checks.integer("num_features", num_features, 1)
        self.eps = checks.number("eps", eps)
        self.momentum = checks.number("momentum", momentum, largest=1.0)
        element = float_dtype(dtype)
        self.weight, self.bias = Parameter(np.ones(C, element)), Parameter(np.zeros(C, element))
        self.running_mean: FloatArray = np.zeros(C, element)
        self.running_var: FloatArray = np.ones(C, element)
        self.num_batches_tracked = np.zeros((), np.int64)
        self._saved: Saved[tuple[FloatArray, FloatArray, FloatArray]] = Saved(type(self).__name__)

    def forward(self, x: FloatArray, *, training: bool) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.forward`."""
        if x.ndim not in self.shapes:
            wanted = " or ".join(self.shapes.values())
            raise kernels.ShapeError(f"{type(self).__name__} takes x {wanted}, got shape {x.shape}")
        weight, bias = self.weight.data, self.bias.data
        if not training:
            return kernels.batch_norm_inference(
                x, weight, bias, self.running_mean, self.running_var, eps=self.eps
            )
        y, mean, rstd = kernels.batch_norm(x, weight, bias, eps=self.eps)
        follow(self.running, mean, rstd, self.eps, x.size // x.shape[1], self.momentum)
        self._saved.keep((x, mean, rstd))
        return y

    def backward(self, grad_y: FloatArray) -> FloatArray:
        """Return an array of x's shape; see :meth:`Layer.backward`."""
        x, mean, rstd = self._saved.take()
        grad_x, self.weight.grad, self.bias.grad = kernels.batch_norm_backward(
            grad_y, x, self.weight.data, mean, rstd
        )
        return grad_x

    def named_parameters(self) -> dict[str, Parameter]:
        """Return ``weight`` and ``bias``."""
        return {"weight": self.weight, "bias": self.bias}

    def named_buffers(self) -> dict[str, AnyArray]:
        """Return the running statistics and the count of batches."""
        return {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "num_batches_tracked": self.num_batches_tracked,
        }

    @property
    def running(self) -> Running:
        """The running statistics together, as the fused operations take them."""
        return Running(self.running_mean, self.running_var, self.num_batches_tracked)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) rows or (N, C, L) sequences; see :class:`BatchNorm`."""

    shapes = {2: "(N, C)", 3: "(N, C, L)"}  # noqa: RUF012  (a ClassVar by inheritance)


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W) images; see :class:`BatchNorm`."""

    shapes = {4: "(N, C, H, W)"}  # noqa: RUF012  (a ClassVar by inheritance)
