"""What flows through a network while stages are made of its layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cnn.arrays import FloatArray
from cnn.fusion.memory import Buffer, Shape
from cnn.layers.normalization import BatchNorm
from kernels import fused
from kernels.geometry import PoolGeometry
from kernels.lazy import Moments, Pull, Read, Sums
from kernels.ops import checks


class Norm:
    """A batch-norm that nothing computes by itself: its numbers for one run, in the same arrays.

    Parameters
    ----------
    layer : BatchNorm
        Whose parameters and running statistics it uses.
    count : int
        Values of a channel.
    """

    def __init__(self, layer: BatchNorm, count: int) -> None:
        self.layer, self.count = layer, count
        self.sums: Sums
        shape, dtype = layer.running_mean.shape, layer.weight.data.dtype
        self._rstd = np.empty(shape)
        self._read, self._pull = np.empty((3, *shape), dtype), np.empty((4, *shape), dtype)

    def take(self, moments: Moments) -> None:
        """Normalise by the batch's moments, and let the running ones follow them."""
        layer = self.layer
        check_parameters(layer)
        self._normalize(moments)
        fused.norm_track(
            *(self._read[0], self._rstd, layer.eps, self.count, layer.momentum),
            running=layer.running,
        )

    def _normalize(self, moments: Moments) -> None:
        layer = self.layer
        weight, bias = layer.weight.data, layer.bias.data
        fused.norm_forward(moments, weight, bias, layer.eps, rstd=self._rstd, out=self._read)

    def take_running(self) -> None:
        """Normalise by the running statistics."""
        check_parameters(self.layer)
        self._normalize(Moments(self.layer.running_mean, self.layer.running_var))

    def read(self, x: FloatArray, relu: bool) -> Read:
        """Return ``x`` as it is read through the batch-norm."""
        mean, scale, shift = self._read
        return Read(x, mean, scale, shift, relu)

    def pull(self, g: FloatArray, x: FloatArray) -> Pull:
        """Return the gradient in front of the batch-norm, and set those of its parameters."""
        weight, bias = self.layer.weight, self.layer.bias
        fused.norm_backward(
            *(self.sums, weight.data, self._read[0], self._rstd, self.count),
            out=self._pull,
            grad_weight=weight.grad_array(),
            grad_bias=bias.grad_array(),
        )
        return Pull(g, x, *self._pull)


def check_parameters(layer: BatchNorm) -> None:
    """Check a batch-norm's parameters: a user may have set other arrays."""
    parameters = {"weight": layer.weight.data, "bias": layer.bias.data}
    checks.optional_floats(layer.running_mean, **parameters)
    for name, array in parameters.items():
        checks.shape(name, array, layer.running_mean.shape, "num_features")


class Value:
    """What a stage stores, and its gradient as the stages that read it leave it.

    Attributes
    ----------
    buffer : Buffer
        Where it is.
    pullable : bool
        Whether the stage that stores it takes its gradient as a :class:`kernels.lazy.Pull`, so
        that it may be read through batch-norm and pooling. Not if that has pooled it already.
    shared : bool
        Whether it has several readers, whose gradients are added up: none of them may read it
        through batch-norm or ReLU.
    needs_grad : bool
        Whether a parameter contributed to it.
    grad : Buffer or None
        Gradient of what is read, once a reader has been linked.
    norm, position, pool
        What that gradient has to be pulled through: set by the reader, or by a stage that pools.
    whole : Buffer or None
        What the value was pooled from, if the stage that stores it has pooled it.
    """

    def __init__(self, buffer: Buffer, *, needs_grad: bool, pullable: bool = False) -> None:
        self.buffer, self.needs_grad, self.pullable = buffer, needs_grad, pullable
        self.shared = False
        self.grad: Buffer | None = None
        self.norm: Norm | None = None
        self.position: Buffer | None = None
        self.pool: PoolGeometry | None = None
        self.whole: Buffer | None = None

    @property
    def shape(self) -> Shape:
        """Of the array."""
        return self.buffer.shape

    def pull(self) -> Pull:
        """Return the gradient as its stage reads it."""
        assert self.grad is not None
        if self.norm is None:
            pull = Pull(self.grad.array)
        else:
            source = self.buffer if self.whole is None else self.whole
            pull = self.norm.pull(self.grad.array, source.array)
        if self.pool is None or self.position is None:
            return pull
        return pull._replace(position=self.position.array, pool=self.pool)


@dataclass(frozen=True)
class Term:
    """A stored value and the batch-norm it is read through, or none."""

    value: Value
    norm: Norm | None = None

    def read(self, relu: bool = False) -> Read:
        """Return how kernels read it."""
        if self.norm is None:
            return Read(self.value.buffer.array, relu=relu)
        return self.norm.read(self.value.buffer.array, relu)


@dataclass(frozen=True)
class Pending:
    """What the next layer gets, not stored yet: a sum of terms, through ReLU if there was one."""

    terms: tuple[Term, ...]
    relu: bool = False

    @property
    def stored(self) -> bool:
        """Whether it is a stored value as it stands."""
        return len(self.terms) == 1 and self.terms[0].norm is None and not self.relu

    @property
    def shape(self) -> Shape:
        """Of the array that it would be."""
        return self.terms[0].value.shape

    def through_relu(self) -> Pending:
        """Return what ReLU makes of it."""
        return replace(self, relu=True)
