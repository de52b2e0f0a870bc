"""The stages that run one layer by itself, on buffers if its class is known."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.fusion.holding import Holder
from cnn.fusion.memory import Buffer
from cnn.fusion.stages import Stage
from cnn.fusion.values import Value, check_parameters
from cnn.layers import (
    AvgPool2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    PaddedShortcut,
    Softmax,
)
from cnn.layers.normalization import BatchNorm
from cnn.optim.elementwise import Elementwise
from cnn.parameter import Parameter
from kernels import dispatch, fused
from kernels.capturing import also
from kernels.geometry import PoolGeometry

L = TypeVar("L", bound=Layer)


class PlainStage(Stage, Generic[L]):
    """A layer with one input, whose gradient goes into a buffer of its own."""

    def __init__(self, layer: L, value: Value, out: Value) -> None:
        super().__init__((value,), out)
        self.layer, self.x, self.y = layer, value.buffer, out.buffer
        self.grad_x, self.grad_y = self._gradient_buffer(), Buffer((), value.buffer.dtype)

    def link(self, grad_y: Buffer) -> None:
        """Leave the gradient in this stage's own buffer."""
        self.grad_y = grad_y
        self.gradients += [grad_y, self.grad_x]
        if self.inputs[0].needs_grad:
            self._contribute(self.inputs[0], self.grad_x)

    def _gradient_buffer(self) -> Buffer:
        return Buffer(self.x.shape, self.x.dtype)


class LayerStage(PlainStage[Layer]):
    """Any layer, which allocates what it returns.

    What it returns may be a view of what it was given: see :attr:`Buffer.base`.
    """

    repeats = False

    def __init__(self, layer: Layer, value: Value, out: Value, *, training: bool) -> None:
        super().__init__(layer, value, out)
        self._training = training

    def forward(self) -> None:
        """Let the layer compute."""
        self.y.array = self.layer.forward(self.x.array, training=self._training)

    def link(self, grad_y: Buffer) -> None:
        """Leave what the layer returns, a view of ``grad_y`` perhaps."""
        self.grad_x.base = grad_y
        super().link(grad_y)

    def backward(self) -> None:
        """Let the layer compute."""
        self.grad_x.array = self.layer.backward(self.grad_y.array)

    def _gradient_buffer(self) -> Buffer:
        return Buffer(self.x.shape, self.x.dtype, planned=False)


class FlattenStage(PlainStage[Flatten]):
    """Flattening: a view where the memory order allows it, else a copy."""

    def forward(self) -> None:
        """Reshape."""
        if self.y.planned:
            also(np.copyto, self.y.array.reshape(self.x.shape), self.x.array)
        else:
            self.y.array = self.x.array.reshape(self.y.shape)

    def link(self, grad_y: Buffer) -> None:
        """Leave a view of ``grad_y``."""
        self.grad_x.base = grad_y
        super().link(grad_y)

    def backward(self) -> None:
        """Reshape."""
        self.grad_x.array = self.grad_y.array.reshape(self.x.shape)

    def _gradient_buffer(self) -> Buffer:
        return Buffer(self.x.shape, self.x.dtype, planned=False)


class LinearStage(PlainStage[Linear]):
    """A linear layer."""

    def layers(self) -> tuple[Holder, ...]:
        """Return the layer."""
        return (self.layer,)

    def forward(self) -> None:
        """Multiply by the weights."""
        layer = self.layer
        bias = None if layer.bias is None else layer.bias.data
        kernels.linear(self.x.array, layer.weight.data, bias, out=self.y.array)

    def backward(self) -> None:
        """Compute all three gradients."""
        operands, (grad_x, grad_weight, grad_bias) = self._operands(), self._gradients()
        dispatch.resolve(None).linear_backward(
            *operands, grad_x=grad_x, grad_weight=grad_weight, grad_bias=grad_bias
        )

    def backward_and_update(self, optimizer: Elementwise) -> tuple[Parameter, ...]:
        """Compute all three gradients, and the weights' new values."""
        operands, (grad_x, grad_weight, grad_bias) = self._operands(), self._gradients()
        fused.linear_update(
            *operands,
            grad_x=grad_x,
            grad_weight=grad_weight,
            grad_bias=grad_bias,
            steps=optimizer.rule(self.layer.weight, grad_weight),
            scalars=optimizer.scalars,
        )
        return (self.layer.weight,)

    def _operands(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self.grad_y.array, self.x.array, self.layer.weight.data

    def _gradients(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        weight, bias = self.layer.weight, self.layer.bias
        unwanted = np.empty(len(weight.data), weight.data.dtype)
        grad_bias = unwanted if bias is None else bias.grad_array()
        return self.grad_x.array, weight.grad_array(), grad_bias


class NormStage(PlainStage[BatchNorm]):
    """A batch-norm whose input is no convolution's output, or has other readers."""

    def __init__(self, layer: BatchNorm, value: Value, out: Value) -> None:
        super().__init__(layer, value, out)
        self._mean, self._rstd = (np.empty_like(layer.weight.data) for _ in range(2))

    def layers(self) -> tuple[Holder, ...]:
        """Return the layer."""
        return (self.layer,)

    def forward(self) -> None:
        """Normalise, and let the running statistics follow."""
        layer, x = self.layer, self.x.array
        check_parameters(layer)
        weight, bias = layer.weight.data, layer.bias.data
        dispatch.resolve(None).batch_norm(
            x, weight, bias, layer.eps, out=self.y.array, mean=self._mean, rstd=self._rstd
        )
        fused.norm_track(
            *(self._mean, self._rstd, layer.eps, x.size // x.shape[1], layer.momentum),
            running=layer.running,
        )

    def backward(self) -> None:
        """Compute all three gradients."""
        layer = self.layer
        dispatch.resolve(None).batch_norm_backward(
            self.grad_y.array,
            self.x.array,
            layer.weight.data,
            self._mean,
            self._rstd,
            grad_x=self.grad_x.array,
            grad_weight=layer.weight.grad_array(),
            grad_bias=layer.bias.grad_array(),
        )


class MaxPoolStage(PlainStage[MaxPool2d]):
    """A max-pooling that no join can hold."""

    def __init__(self, layer: MaxPool2d, value: Value, out: Value, geometry: PoolGeometry) -> None:
        super().__init__(layer, value, out)
        self._geometry = geometry
        self._indices = Buffer(out.shape, np.dtype(np.int32))
        self.kept.append(self._indices)

    def forward(self) -> None:
        """Take maxima and note where they are."""
        dispatch.resolve(None).max_pool2d(
            self.x.array, self._geometry, out=self.y.array, indices=self._indices.array
        )

    def backward(self) -> None:
        """Send each gradient there."""
        dispatch.resolve(None).max_pool2d_backward(
            self.grad_y.array, self._indices.array, out=self.grad_x.array
        )


class AvgPoolStage(PlainStage[AvgPool2d]):
    """An average-pooling."""

    def __init__(self, layer: AvgPool2d, value: Value, out: Value, geometry: PoolGeometry) -> None:
        super().__init__(layer, value, out)
        self._arguments: tuple[Any, ...] = (
            geometry,
            layer.count_include_pad,
            layer.divisor_override,
        )

    def forward(self) -> None:
        """Take means."""
        dispatch.resolve(None).avg_pool2d(self.x.array, *self._arguments, out=self.y.array)

    def backward(self) -> None:
        """Share the gradients out."""
        dispatch.resolve(None).avg_pool2d_backward(
            self.grad_y.array, *self._arguments, out=self.grad_x.array
        )


class GlobalAvgPoolStage(PlainStage[GlobalAvgPool2d]):
    """An average over each plane."""

    def forward(self) -> None:
        """Take means."""
        dispatch.resolve(None).global_avg_pool2d(self.x.array, out=self.y.array)

    def backward(self) -> None:
        """Share the gradients out."""
        dispatch.resolve(None).global_avg_pool2d_backward(self.grad_y.array, out=self.grad_x.array)


class SoftmaxStage(PlainStage[Softmax]):
    """Softmax of each row."""

    def forward(self) -> None:
        """Turn scores into probabilities."""
        dispatch.resolve(None).softmax(self.x.array, out=self.y.array)

    def backward(self) -> None:
        """Compute ``y · (grad_y - Σ_k grad_y·y)``."""
        also(self._pull_back)

    def _pull_back(self) -> None:
        grad_y, y, grad_x = self.grad_y.array, self.y.array, self.grad_x.array
        np.subtract(grad_y, (grad_y * y).sum(axis=1, keepdims=True), out=grad_x)
        grad_x *= y


class ShortcutStage(PlainStage[PaddedShortcut]):
    """A padded shortcut; its gradient is added to what the residual body left, if it can be."""

    def __init__(self, layer: PaddedShortcut, value: Value, out: Value) -> None:
        super().__init__(layer, value, out)
        self._step, self._channels = layer.stride, layer.in_channels
        self._adds = False

    def forward(self) -> None:
        """Copy every so many pixels; the other channels are 0."""
        also(self._copy)

    def _copy(self) -> None:
        y = self.y.array
        y[:, self._channels :] = 0
        y[:, : self._channels] = self.x.array[:, :, :: self._step, :: self._step]

    def link(self, grad_y: Buffer) -> None:
        """Add to the gradient that the body left, if nobody else reads that."""
        grad = self.inputs[0].grad
        if grad is None or not grad.exclusive:
            super().link(grad_y)
            return
        self._adds, self.grad_x, self.grad_y = True, grad, grad_y
        self.gradients += [grad_y, grad]

    def backward(self) -> None:
        """Add the gradients to the pixels they came from."""
        also(self._add_back)

    def _add_back(self) -> None:
        grad_x = self.grad_x.array
        if not self._adds:
            grad_x[...] = 0
        grad_x[:, :, :: self._step, :: self._step] += self.grad_y.array[:, : self._channels]
