"""The stages of a program that fuse: convolutions, and the joins between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain
from typing import ClassVar

import numpy as np

from cnn.fusion.holding import Holder
from cnn.fusion.memory import Buffer
from cnn.fusion.values import Norm, Term, Value, check_parameters
from cnn.layers import Conv2d
from cnn.optim.elementwise import Elementwise
from cnn.parameter import Parameter
from kernels import fused
from kernels.capturing import also
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.lazy import Pooled, Read


class Stage(ABC):
    """One step of a program, forward and backward.

    Parameters
    ----------
    inputs : tuple of Value
        What it reads.
    out : Value
        What it stores.

    Attributes
    ----------
    inputs, out
        As given.
    kept : list of Buffer
        What else it keeps from its forward for its backward.
    gradients : list of Buffer
        What its backward reads and writes besides all that.
    repeats : bool
        Class attribute: whether it does the same with the same arrays each time, so that it can be
        captured (:mod:`kernels.capturing`).
    """

    repeats: ClassVar[bool] = True

    def __init__(self, inputs: tuple[Value, ...], out: Value) -> None:
        self.inputs, self.out = inputs, out
        self.kept: list[Buffer] = []
        self.gradients: list[Buffer] = []
        self._totals: list[tuple[Buffer, Buffer, Buffer]] = []

    @abstractmethod
    def forward(self) -> None:
        """Compute and store the output."""

    def layers(self) -> tuple[Holder, ...]:
        """Return the layers whose arrays and settings it uses."""
        return ()

    @abstractmethod
    def link(self, grad_y: Buffer) -> None:
        """Say where the gradients of the inputs will be, given where that of the output is."""

    @abstractmethod
    def backward(self) -> None:
        """Compute the gradients of the inputs and parameters from that of the output."""

    def backward_and_update(self, optimizer: Elementwise) -> tuple[Parameter, ...]:
        """Do :meth:`backward`; return those parameters that were updated with their gradients."""
        self.backward()
        return ()

    def add_up(self) -> None:
        """Add this stage's gradients to those of other readers, where kernels did not."""
        for one, other, total in self._totals:
            also(np.add, one.array, other.array, out=total.array)

    def forward_buffers(self) -> list[Buffer]:
        """Return what the forward pass touches."""
        return [*(value.buffer for value in self.inputs), self.out.buffer, *self.kept]

    def backward_buffers(self) -> list[Buffer]:
        """Return what the backward pass touches, linked."""
        return [*self.forward_buffers(), *self.gradients, *chain(*self._totals)]

    def _contribute(self, value: Value, grad: Buffer) -> None:
        """Make a gradient that this stage leaves that of a value, or a part of it."""
        if value.grad is not None:
            total = Buffer(value.shape, value.buffer.dtype)
            self._totals.append((value.grad, grad, total))
            grad = total
        value.grad = grad


class ConvStage(Stage):
    """A convolution that reads through batch-norm and ReLU, takes moments for the next, and pools.

    Parameters
    ----------
    layer : Conv2d
        Whose parameters it uses.
    term, relu
        What it reads.
    out : Value
        Its output.
    geometry : ConvGeometry
        Of the convolution.

    Attributes
    ----------
    norm : Norm or None
        The batch-norm that the output is read through, if it is by its moments.
    pool : PoolGeometry or None
        Of the pooling.
    """

    def __init__(
        self, layer: Conv2d, term: Term, relu: bool, out: Value, geometry: ConvGeometry
    ) -> None:
        super().__init__((term.value,), out)
        self.layer, self.term, self.relu, self.geometry = layer, term, relu, geometry
        self.norm: Norm | None = None
        self.pool: PoolGeometry | None = None
        self._behind: Norm | None = None
        self._read: Read
        self._add: Buffer | None = None
        self._grad_x: Buffer | None = None

    def layers(self) -> tuple[Holder, ...]:
        """Return the convolution, and the batch-norm behind it."""
        return (self.layer,) if self.norm is None else (self.layer, self.norm.layer)

    @property
    def alone(self) -> bool:
        """Whether nobody but what comes next sees the output, and it is still to be pooled."""
        return self.pool is None and not self.out.shared

    def pool_by(self, pool: PoolGeometry, behind: Norm | None, *, training: bool) -> Value:
        """Pool the output, which batch-norm may follow; return what is stored instead of it."""
        whole, dtype = self.out.buffer, self.out.buffer.dtype
        self.pool, self._behind = pool, behind
        self.out = Value(Buffer(pool.y_shape, dtype), needs_grad=True)
        if training and behind is not None:  # whose gradient reads it
            self.out.whole = whole
            self.kept.append(whole)
        if training:
            self.out.pool, self.out.position = pool, Buffer(pool.y_shape, np.dtype(np.uint8))
            self.kept.append(self.out.position)
        return self.out

    def _pooled(self) -> Pooled | None:
        if self.pool is None:
            return None
        position, norm = self.out.position, self._behind
        if norm is not None:
            check_parameters(norm.layer)
        return Pooled(
            self.pool,
            self.out.buffer.array,
            None if position is None else position.array,
            None if norm is None else norm.layer.weight.data,
        )

    def forward(self) -> None:
        """Convolve; normalise by the moments that come with it."""
        layer, norm = self.layer, self.norm
        whole = self.out.buffer if self.pool is None else self.out.whole
        self._read = self.term.read(self.relu)
        moments = fused.conv_forward(
            self._read,
            layer.weight.data,
            None if layer.bias is None else layer.bias.data,
            self.geometry,
            stats=norm is not None,
            out=None if whole is None else whole.array,
            pooled=self._pooled(),
        )
        if norm is not None and moments is not None:
            norm.take(moments)

    def link(self, grad_y: Buffer) -> None:
        """Leave the gradient of what is read, other readers' added."""
        position = self.out.position
        self.gradients += [grad_y] if position is None else [grad_y, position]
        (value,) = self.inputs
        if value.needs_grad:
            self._add = value.grad
            self._grad_x = value.grad = Buffer(value.shape, value.buffer.dtype, exclusive=True)
            value.norm = self.term.norm
            self.gradients += [self._grad_x] if self._add is None else [self._grad_x, self._add]

    def backward(self) -> None:
        """Pull the output's gradient through what lies behind it."""
        layer = self.layer
        sums = fused.conv_backward(
            self.out.pull(),
            self._read,
            layer.weight.data,
            self.geometry,
            add=None if self._add is None else self._add.array,
            grad_x=None if self._grad_x is None else self._grad_x.array,
            grad_weight=layer.weight.grad_array(),
            grad_bias=None if layer.bias is None else layer.bias.grad_array(),
        )
        if sums is not None and self.term.norm is not None:
            self.term.norm.sums = sums


class JoinStage(Stage):
    """Stores a sum of values read through batch-norm, after ReLU, after max-pooling.

    Parameters
    ----------
    terms, relu
        What it reads.
    pool : PoolGeometry or None
        Of the pooling.
    out : Value
        What it stores.
    """

    def __init__(
        self, terms: tuple[Term, ...], relu: bool, pool: PoolGeometry | None, out: Value
    ) -> None:
        super().__init__(tuple(term.value for term in terms), out)
        self.terms, self.relu, self.pool = terms, relu, pool
        self._reads: tuple[Read, ...]
        self._grad_y: Buffer
        self._masked: Buffer | None = None
        self._position: Buffer | None = None
        if pool is not None:
            self._position = Buffer(pool.y_shape, np.dtype(np.uint8))
            self.kept.append(self._position)

    def forward(self) -> None:
        """Add up, activate and pool."""
        self._reads = tuple(term.read() for term in self.terms)
        position = None if self._position is None else self._position.array
        fused.join_forward(
            self._reads, self.relu, self.pool, out=self.out.buffer.array, position=position
        )

    def link(self, grad_y: Buffer) -> None:
        """Leave each term the gradient in front of ReLU, still to be unpooled."""
        self._grad_y = grad = grad_y
        self.gradients.append(grad_y)
        if self.relu and self.pool is None:
            grad = self._masked = Buffer(self.out.shape, self.out.buffer.dtype)
            self.gradients.append(grad)
        for term in self.terms:
            value = term.value
            if value.needs_grad:
                self._contribute(value, grad)
                value.norm = term.norm
                if self.pool is not None:
                    value.position, value.pool = self._position, self.pool

    def backward(self) -> None:
        """Mask the gradient, if ReLU is to be undone, and take batch-norm's sums."""
        all_sums = fused.join_backward(
            self._grad_y.array,
            None if self._position is None else self._position.array,
            self.out.buffer.array,
            self._reads,
            self.relu,
            self.pool,
            out=None if self._masked is None else self._masked.array,
        )
        for term, sums in zip(self.terms, all_sums, strict=True):
            if term.norm is not None and sums is not None:
                term.norm.sums = sums
