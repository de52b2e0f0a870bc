"""Values that the fused operations compute while they load them, and never store.

Batch-norm's forward pass is a :class:`Read` there, its backward pass a :class:`Pull`, with numbers
for each channel. :func:`normalizer`, :func:`pullback` and :func:`follow` are their definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import PoolGeometry

if TYPE_CHECKING:
    from kernels.backends.contract import FloatArray

Float64 = NDArray[np.float64]

NOWHERE = 255
"""Position of a pooled value whose gradient goes nowhere: ReLU made it 0."""

MOST_TAPS = NOWHERE
"""Taps of the largest max-pooling window whose positions fit a byte."""


class Read(NamedTuple):
    """The value ``act(scale · (x - mean) + shift)``; a convolution's padding is 0 after act.

    Attributes
    ----------
    x : (N, C, H, W) or (N, C) array
        What is stored.
    mean, scale, shift : (C,) array of x's dtype, or None
        All there, or none: then the value is ``act(x)``.
    relu : bool
        Whether act is ReLU; else it is the identity.
    """

    x: FloatArray
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    shift: FloatArray | None = None
    relu: bool = False


class Pull(NamedTuple):
    """The gradient ``a · unpool(g) + b · (x - mean) + c``.

    Attributes
    ----------
    g : (N, C, H, W) array, or (N, C, PH, PW) with ``pool``
        What is stored: the gradient behind the batch-norm and the pooling.
    x : (N, C, H, W) array or None
        What the batch-norm normalised; None: the gradient is ``unpool(g)``.
    mean, a, b, c : (C,) array of g's dtype, or None
        There if x is.
    position : (N, C, PH, PW) array of uint8, or None
        There if ``pool`` is; as ``join_forward`` or ``conv_forward`` wrote it.
    pool : PoolGeometry or None
        The max-pooling that ``g`` has to go back through.
    """

    g: FloatArray
    x: FloatArray | None = None
    mean: FloatArray | None = None
    a: FloatArray | None = None
    b: FloatArray | None = None
    c: FloatArray | None = None
    position: NDArray[np.uint8] | None = None
    pool: PoolGeometry | None = None


class Pooled(NamedTuple):
    """Max-pooling of a convolution's output, by what batch-norm and ReLU behind it will make of it.

    They keep the order of a channel's values, or turn it round. So it is known before the batch's
    statistics are which value of a window will be the largest: the largest now or, where
    batch-norm's weight is negative, the smallest; where it is 0, the first.

    Attributes
    ----------
    pool : PoolGeometry
        Windows, which are apart (``PoolGeometry.apart``), of at most :data:`MOST_TAPS` taps.
    values : (N, O, PH, PW) array
        Is given that value of each window, as the convolution made it.
    position : (N, O, PH, PW) array of uint8, or None
        Is given where it is in its window, row by row: ``kh · KW + kw``. None if no backward
        follows.
    weight : (O,) array or None
        Batch-norm's; None where there is none.
    """

    pool: PoolGeometry
    values: FloatArray
    position: NDArray[np.uint8] | None = None
    weight: FloatArray | None = None


class Moments(NamedTuple):
    """Mean and biased variance of each channel, (C,): a batch's in float64, or running ones."""

    mean: FloatArray
    var: FloatArray


class Running(NamedTuple):
    """Running statistics: means and variances, (C,) arrays, and batches seen, () of int64."""

    mean: FloatArray
    var: FloatArray
    batches: NDArray[np.int64]


class Sums(NamedTuple):
    """``Σ g`` and ``Σ g · (x - mean)`` of each channel, (C,): what batch-norm's backward needs."""

    grad: Float64
    grad_x: Float64


class Normalizer(NamedTuple):
    """Batch-norm as :class:`Read` takes it, and the ``rstd`` that :func:`pullback` needs."""

    mean: FloatArray
    rstd: Float64
    scale: FloatArray
    shift: FloatArray


def normalizer(moments: Moments, weight: FloatArray, bias: FloatArray, eps: float) -> Normalizer:
    """Return ``mean``, ``rstd = 1 / sqrt(var + eps)``, ``scale = weight · rstd`` and ``shift``.

    What the mean loses when it is rounded to the parameters' dtype goes into the shift, which is
    the bias otherwise.
    """
    dtype = weight.dtype
    with np.errstate(divide="ignore", invalid="ignore"):  # eps may be 0 and values all alike
        rstd = 1.0 / np.sqrt(moments.var.astype(np.float64) + eps)
        scale = weight * rstd
        mean = moments.mean.astype(dtype)
        lost = moments.mean - mean
        shift = bias - np.where(np.abs(lost) > 0, scale * lost, 0.0)
    return Normalizer(mean, rstd, scale.astype(dtype), shift.astype(dtype))


def follow(
    running: Running, mean: FloatArray, rstd: FloatArray, eps: float, count: int, momentum: float
) -> None:
    """Move running statistics towards a batch's, in place.

    ``running = (1 - momentum) · running + momentum · batch``, the variance unbiased, as in PyTorch.
    The batch's biased one is ``1 / rstd² - eps``; ``count`` is M, the values of a channel.
    """
    with np.errstate(divide="ignore"):  # an infinite variance has rstd 0
        var = np.maximum(1 / np.square(rstd, dtype=np.float64) - eps, 0)
    unbiased = var * (count / (count - 1))
    for statistic, batch in ((running.mean, mean.astype(np.float64)), (running.var, unbiased)):
        statistic[...] = (1 - momentum) * statistic.astype(np.float64) + momentum * batch
    running.batches[...] += 1


class BatchNormPull(NamedTuple):
    """The coefficients of a :class:`Pull`, and the gradients of batch-norm's parameters."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    grad_weight: Float64
    grad_bias: Float64


def pullback(sums: Sums, weight: FloatArray, rstd: Float64, count: int) -> BatchNormPull:
    """Return batch-norm's backward pass as numbers for each channel.

    ``grad_x = a · g + b · (x - mean) + c`` with ``a = weight · rstd``, ``b = -a · rstd ·
    grad_weight / M`` and ``c = -a · grad_bias / M``; ``grad_weight = rstd · Σ g · (x - mean)`` and
    ``grad_bias = Σ g``. ``count`` is M, the values of a channel.
    """
    grad_weight = rstd * sums.grad_x
    a = weight * rstd
    per_value = a / -count
    b, c = per_value * rstd * grad_weight, per_value * sums.grad
    dtype = weight.dtype
    return BatchNormPull(a.astype(dtype), b.astype(dtype), c.astype(dtype), grad_weight, sums.grad)
