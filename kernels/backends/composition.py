"""The fused operations put together from plain ones: their definition, and a start for a backend.

Nothing is fused here. Each value that a fused operation would only pass on is computed and stored,
by the plain operations of the backend that the composition is bound to. Bound to the naive
backend's it is the reference for every other's fused operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels.backends.contract import FloatArray, IntArray
from kernels.elementwise import MOST_TEMPORARIES, Step, by_numpy
from kernels.geometry import Axis, ConvGeometry, PoolGeometry
from kernels.lazy import (
    NOWHERE,
    Float64,
    Moments,
    Pooled,
    Pull,
    Read,
    Running,
    Sums,
    follow,
    normalizer,
    pullback,
)


@dataclass(frozen=True)
class Composition:
    """The fused operations on a backend's plain ones.

    Attributes
    ----------
    memory, convolution, pooling, normalization, activation, dense, loss : module
        The backend's files of these names.
    dtype : dtype, optional
        Of everything that is computed on the way; that of the arguments if left out.
    """

    memory: ModuleType
    convolution: ModuleType
    pooling: ModuleType
    normalization: ModuleType
    activation: ModuleType
    dense: ModuleType
    loss: ModuleType
    dtype: DTypeLike | None = None

    def conv_forward(
        self,
        read: Read,
        weight: FloatArray,
        bias: FloatArray | None,
        geometry: ConvGeometry,
        *,
        stats: bool,
        out: FloatArray | None,
        pooled: Pooled | None = None,
    ) -> Moments | None:
        """Compute what is read, convolve it, take mean and variance of the result, and pool it."""
        y = self._new(geometry.y_shape, read.x)
        self.convolution.conv2d(
            self._value(read),
            self._taken(weight),
            None if bias is None else self._taken(bias),
            geometry,
            out=y,
        )
        if out is not None:
            out[...] = y
        if pooled is not None:
            self._pool(y, pooled)
        return self._moments(y) if stats else None

    def conv_backward(
        self,
        pull: Pull,
        read: Read,
        weight: FloatArray,
        geometry: ConvGeometry,
        *,
        add: FloatArray | None = None,
        grad_x: FloatArray | None,
        grad_weight: FloatArray,
        grad_bias: FloatArray | None,
    ) -> Sums | None:
        """Compute what is pulled, then the gradients of the convolution one by one."""
        grad_y, value = self._gradient(pull), self._value(read)
        self._write(
            self.convolution.conv2d_backward_weight, grad_y, value, geometry, out=grad_weight
        )
        if grad_bias is not None:
            self._write(self.convolution.conv2d_backward_bias, grad_y, out=grad_bias)
        if grad_x is None:
            return None
        grad = self._new(geometry.x_shape, grad_x)
        self.convolution.conv2d_backward_input(grad_y, self._taken(weight), geometry, out=grad)
        if add is not None:
            grad += add
        if read.relu:
            grad = self._masked(grad, value)
        grad_x[...] = grad
        return self._sums(grad, read)

    def join_forward(
        self,
        reads: tuple[Read, ...],
        relu: bool,
        pool: PoolGeometry | None,
        *,
        out: FloatArray,
        position: NDArray[np.uint8] | None,
    ) -> None:
        """Add up what is read, then apply ReLU and max-pooling one after the other."""
        total = self._value(reads[0])
        for read in reads[1:]:
            total = total + self._value(read)
        if relu:
            total = self._relu(total)
        if pool is None:
            out[...] = total
            return
        y = self._new(pool.y_shape, out)
        indices = self.memory.empty(pool.y_shape, np.dtype(np.int32))
        self.pooling.max_pool2d(total, pool, out=y, indices=indices)
        out[...] = y
        if position is not None:
            position[...] = _position_of(indices, pool)
            if relu:
                position[y == 0] = NOWHERE

    def join_backward(
        self,
        grad_y: FloatArray,
        position: NDArray[np.uint8] | None,
        y: FloatArray,
        reads: tuple[Read, ...],
        relu: bool,
        pool: PoolGeometry | None,
        *,
        out: FloatArray | None,
    ) -> tuple[Sums | None, ...]:
        """Take the gradient back through pooling and ReLU, and sum it for each batch-norm."""
        if pool is not None:
            grad = self._gradient(Pull(grad_y, position=position, pool=pool))
        else:
            grad = self._taken(grad_y)
            if relu:
                grad = self._masked(grad, self._taken(y))
        if out is not None:
            out[...] = grad
        return tuple(self._sums(grad, read) for read in reads)

    def norm_forward(
        self,
        moments: Moments,
        weight: FloatArray,
        bias: FloatArray,
        eps: float,
        *,
        rstd: Float64,
        out: FloatArray,
    ) -> None:
        """Write what ``lazy.normalizer`` returns."""
        out[0], rstd[...], out[1], out[2] = normalizer(moments, weight, bias, eps)

    def norm_backward(
        self,
        sums: Sums,
        weight: FloatArray,
        mean: FloatArray,
        rstd: Float64,
        count: int,
        *,
        out: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
    ) -> None:
        """Write what ``lazy.pullback`` returns."""
        out[0] = mean
        out[1], out[2], out[3], grad_weight[...], grad_bias[...] = pullback(
            sums, weight, rstd, count
        )

    def norm_track(
        self,
        mean: FloatArray,
        rstd: FloatArray,
        eps: float,
        count: int,
        momentum: float,
        *,
        running: Running,
    ) -> None:
        """Do as ``lazy.follow``."""
        follow(running, mean, rstd, eps, count, momentum)

    def linear_update(
        self,
        grad_y: FloatArray,
        x: FloatArray,
        weight: FloatArray,
        *,
        grad_x: FloatArray,
        grad_weight: FloatArray,
        grad_bias: FloatArray,
        steps: Sequence[Step],
        scalars: Float64,
    ) -> None:
        """Write the gradients, then do the steps."""
        self.dense.linear_backward(
            grad_y, x, weight, grad_x=grad_x, grad_weight=grad_weight, grad_bias=grad_bias
        )
        self.elementwise(steps, scalars)

    def cross_entropy(
        self, logits: FloatArray, labels: IntArray, *, losses: Float64, grad_logits: FloatArray
    ) -> None:
        """Take the mean's gradient, and the logarithm of softmax at each label."""
        values = self._taken(logits)
        grad, logarithms = (self._new(logits.shape, logits) for _ in range(2))
        self.loss.softmax_cross_entropy(values, labels, grad_logits=grad)
        self.loss.log_softmax(values, out=logarithms)
        losses[...] = -logarithms[np.arange(len(labels)), labels]
        grad_logits[...] = grad

    def elementwise(self, steps: Sequence[Step], scalars: Float64) -> None:
        """Do one step after the other."""
        like = next(array for step in steps for array in step.arrays)
        temporaries = [np.empty_like(like) for _ in range(MOST_TEMPORARIES)]
        by_numpy(steps, scalars, temporaries.__getitem__)

    def _value(self, read: Read) -> FloatArray:
        value = self._taken(read.x)
        if read.mean is not None:
            value = self._normalized(value, read.scale, read.shift, read.mean)
        return self._relu(value) if read.relu else value

    def _gradient(self, pull: Pull) -> FloatArray:
        grad = self._taken(pull.g)
        if pull.pool is not None and pull.position is not None:
            grad = self._unpooled(grad, pull.position, pull.pool)
        if pull.x is None:
            return grad
        through_statistics = self._normalized(self._taken(pull.x), pull.b, pull.c, pull.mean)
        through_value = self._normalized(grad, pull.a, np.zeros_like(pull.a), np.zeros_like(pull.a))
        through_value += through_statistics
        return through_value

    def _normalized(self, x: FloatArray, scale: Any, shift: Any, mean: Any) -> FloatArray:
        """Return ``scale · (x - mean) + shift``: batch-norm with a variance of 1."""
        scale, shift, mean = (self._taken(part) for part in (scale, shift, mean))
        y = self._new(x.shape, x)
        self.normalization.batch_norm_inference(
            x, scale, shift, mean, np.ones_like(mean), 0.0, out=y
        )
        return y

    def _relu(self, x: FloatArray) -> FloatArray:
        y = self._new(x.shape, x)
        self.activation.relu(x, out=y)
        return y

    def _masked(self, grad: FloatArray, y: FloatArray) -> FloatArray:
        masked = self._new(grad.shape, grad)
        self.activation.relu_backward(grad, y, out=masked)
        return masked

    def _unpooled(self, grad: FloatArray, position: IntArray, pool: PoolGeometry) -> FloatArray:
        height, width = pool.height, pool.width
        nowhere = position == NOWHERE
        indices = np.where(nowhere, 0, _index_of(position, pool))
        grad_x = self._new((pool.batch, pool.channels, height.size, width.size), grad)
        arriving = np.where(nowhere, np.zeros((), grad.dtype), grad)
        self.pooling.max_pool2d_backward(arriving, indices.astype(np.int32), out=grad_x)
        return grad_x

    def _pool(self, y: FloatArray, pooled: Pooled) -> None:
        """Take the value of each window whose place has the largest after batch-norm."""
        pool, shape = pooled.pool, pooled.values.shape
        sign = np.ones((), y.dtype) if pooled.weight is None else np.sign(pooled.weight)
        keys = self._new(y.shape, y)
        with np.errstate(invalid="ignore"):  # 0 times infinity, NaN behind batch-norm as well
            keys[...] = y * sign.reshape(-1, 1, 1)
        largest, indices = self._new(shape, y), self.memory.empty(shape, np.dtype(np.int32))
        self.pooling.max_pool2d(keys, pool, out=largest, indices=indices)
        N, C = shape[:2]
        values = np.take_along_axis(y.reshape(N, C, -1), indices.reshape(N, C, -1), axis=2)
        pooled.values[...] = values.reshape(shape)
        if pooled.position is not None:
            pooled.position[...] = _position_of(indices, pool)

    def _moments(self, y: FloatArray) -> Moments:
        """Return what batch-norm finds on its way, in float64."""
        C = y.shape[1]
        mean, rstd = np.empty(C), np.empty(C)
        one, zero = np.ones(C, y.dtype), np.zeros(C, y.dtype)
        scratch = self._new(y.shape, y)
        with np.errstate(divide="ignore", invalid="ignore"):  # a variance of 0 or infinity is none
            self.normalization.batch_norm(y, one, zero, 0.0, out=scratch, mean=mean, rstd=rstd)
            return Moments(mean, np.square(1 / rstd))

    def _sums(self, grad: FloatArray, read: Read) -> Sums | None:
        """Return what batch-norm's backward finds on its way, in float64."""
        if read.mean is None:
            return None
        x, mean = self._taken(read.x), self._taken(read.mean)
        one = np.ones_like(mean)
        sums = Sums(np.empty(len(mean)), np.empty(len(mean)))
        self.normalization.batch_norm_inference_backward(
            grad,
            x,
            one,
            mean,
            one,
            0.0,
            grad_x=self._new(x.shape, x),
            grad_weight=sums.grad_x,
            grad_bias=sums.grad,
        )
        return sums

    def _taken(self, array: FloatArray) -> FloatArray:
        return array if self.dtype is None else array.astype(self.dtype, copy=False)

    def _new(self, shape: tuple[int, ...], like: FloatArray) -> FloatArray:
        dtype = like.dtype if self.dtype is None else np.dtype(self.dtype)
        new: FloatArray = self.memory.empty(shape, dtype)
        return new

    def _write(self, operation: Any, *arguments: Any, out: FloatArray) -> None:
        """Write a plain operation's result, rounded once, into an array of the caller's dtype."""
        result = out if self.dtype is None else self._new(out.shape, out)
        operation(*arguments, out=result)
        if result is not out:
            out[...] = result


def composed(function: object) -> bool:
    """Whether a fused operation is one of a :class:`Composition`'s, which gains nothing."""
    return isinstance(getattr(function, "__self__", None), Composition)


def _position_of(indices: IntArray, pool: PoolGeometry) -> IntArray:
    """Return the tap, counted row by row in its window, that each flat index is."""
    height, width = pool.height, pool.width
    rows, columns = np.divmod(indices, width.size)
    tap_row = (rows - _starts(height)[:, None]) // height.dilation
    tap_column = (columns - _starts(width)) // width.dilation
    position: IntArray = tap_row * width.kernel + tap_column
    return position


def _index_of(position: IntArray, pool: PoolGeometry) -> IntArray:
    """Return the flat index into the plane of what is pooled: the way back."""
    height, width = pool.height, pool.width
    tap_row, tap_column = np.divmod(position.astype(np.int64), width.kernel)
    rows = _starts(height)[:, None] + tap_row * height.dilation
    columns = _starts(width) + tap_column * width.dilation
    index: IntArray = rows * width.size + columns
    return index


def _starts(axis: Axis) -> IntArray:
    """Return where each window starts, in front of the image where there is padding."""
    return np.arange(axis.outputs) * axis.stride - axis.before
