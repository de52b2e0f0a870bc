"""From a list of layers to fused stages.

One walk over the layers, with what each gets as a :class:`Pending` value: not stored yet, but known
as a sum of stored values read through batch-norm and ReLU. A convolution reads a single such value
as it is; batch-norm behind it and ReLU change only how its output will be read, and max-pooling
becomes a part of it. Whatever else needs the value (several readers, another pooling, an addition
that something follows, a layer that knows nothing of this) makes a join store it first. Layers
whose class is not exactly one of this package's run by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.fusion import plain_stages as plain
from cnn.fusion.memory import Buffer, Shape
from cnn.fusion.stages import ConvStage, JoinStage, Stage
from cnn.fusion.values import Norm, Pending, Term, Value
from cnn.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    PaddedShortcut,
    ReLU,
    Residual,
    Sequential,
    Softmax,
)
from cnn.layers.normalization import BatchNorm
from kernels import fused
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.ops import windows


class Walk:
    """Makes the stages of a model for batches of one shape.

    Parameters
    ----------
    x : Buffer
        Where the batch will be.
    training : bool
        Whether a backward pass follows.

    Attributes
    ----------
    stages : list of Stage
        In the order of computation.
    norms : list of Norm
        Those that read running statistics, in inference.
    """

    # A layer with parameters that comes twice runs by itself each time: its backward says that
    # one forward serves one backward, as it does without fusion.

    def __init__(self, x: Buffer, *, training: bool) -> None:
        self.stages: list[Stage] = []
        self.norms: list[Norm] = []
        self._training = training
        self._dtype = x.dtype
        self._start = Pending((Term(Value(x, needs_grad=False)),))
        self._repeated: set[Layer] = set()

    def through(self, model: Sequential, last: Sequence[Layer] = ()) -> Value:
        """Make the stages of a model and what follows; return where the outputs will be.

        Raises
        ------
        kernels.ShapeError, TypeError
            If a batch of that shape does not fit a layer.
        """
        if self._training:
            counts = Counter(layer for layer in parts(model) if layer.parameters())
            self._repeated = {layer for layer, count in counts.items() if count > 1}
        with kernels.use_backend("numpy"):  # for shapes, on batches of no images
            return self._stored(self._sequence([*model.layers, *last], self._start))

    def _sequence(self, layers: Sequence[Layer], pending: Pending) -> Pending:
        for layer in layers:
            pending = self._layer(layer, pending)
        return pending

    def _layer(self, layer: Layer, pending: Pending) -> Pending:
        if type(layer) is Sequential:
            return self._sequence(layer.layers, pending)
        if type(layer) is Residual:
            return self._residual(layer, pending)
        handler = _HANDLERS.get(type(layer))
        if handler is None or len(pending.shape) not in (2, 4) or layer in self._repeated:
            return self._by_itself(layer, pending)
        shape = _output_shape(layer, pending.shape, self._dtype)
        after: Pending = handler(self, layer, pending, shape)
        return after

    def _residual(self, layer: Residual, pending: Pending) -> Pending:
        """Two ways from one stored value; their sum stays pending."""
        value = self._stored(pending)
        value.shared = True
        start, shortcut = Pending((Term(value),)), layer.shortcut
        if type(shortcut) is PaddedShortcut:  # before the body, so that its backward comes behind
            around = self._layer(shortcut, start)
            body = self._layer(layer.body, start)
        else:
            body = self._layer(layer.body, start)
            around = start if shortcut is None else self._layer(shortcut, start)
        if body.shape != around.shape:
            raise kernels.ShapeError(
                f"Residual adds arrays of one shape, but body gives {body.shape} "
                f"and the shortcut {around.shape}"
            )
        return Pending((*self._terms(body), *self._terms(around)))

    def _terms(self, pending: Pending) -> tuple[Term, ...]:
        """Return what can be added up with other terms: ReLU comes before the addition."""
        return (Term(self._stored(pending)),) if pending.relu else pending.terms

    def _convolution(self, layer: Conv2d, pending: Pending, shape: Shape) -> Pending:
        if len(pending.terms) > 1:
            pending = Pending((Term(self._stored(pending)),))
        O, _, KH, KW = layer.weight.data.shape
        N, C, H, W = pending.shape
        window = (layer.stride, layer.padding, layer.dilation)
        axes = windows.axes((H, W), (KH, KW), *window)
        geometry = ConvGeometry(N, C, O, layer.groups, *axes)
        out = self._value(shape, needs_grad=True, pullable=True)
        self._add(ConvStage(layer, pending.terms[0], pending.relu, out, geometry))
        return Pending((Term(out),))

    def _batch_norm(self, layer: BatchNorm, pending: Pending, shape: Shape) -> Pending:
        count = int(np.prod(shape)) // shape[1]
        if self._training and count < 2:
            raise kernels.ShapeError(
                f"x must have 2 or more values per channel to take statistics of, got shape {shape}"
            )
        norm, producer = Norm(layer, count), self._producer(pending)
        if not self._training:
            self.norms.append(norm)
            return Pending((Term(self._stored(pending), norm),))
        if isinstance(producer, ConvStage) and producer.alone:
            producer.norm = norm
            return Pending((Term(producer.out, norm),))
        value, out = self._stored(pending), self._value(shape, needs_grad=True)
        self._add(plain.NormStage(layer, value, out))
        return Pending((Term(out),))

    def _relu(self, layer: ReLU, pending: Pending, shape: Shape) -> Pending:
        activated = pending.through_relu()
        if self._training and pending.stored and pending.terms[0].value.shared:
            return Pending((Term(self._stored(activated)),))
        return activated

    def _max_pool(self, layer: MaxPool2d, pending: Pending, shape: Shape) -> Pending:
        N, C, H, W = pending.shape
        axes = windows.pool_axes((H, W), layer.kernel_size, layer.stride, layer.padding, 1, False)
        geometry = PoolGeometry(N, C, *axes)
        readers = [term.value for term in pending.terms]
        fits = geometry.height.kernel * geometry.width.kernel <= fused.MOST_TAPS
        last, norm = self._last(pending), pending.terms[0].norm
        if fits and geometry.apart and isinstance(last, ConvStage) and last.alone:
            pooled = last.pool_by(geometry, norm, training=self._training)
            return Pending((Term(pooled, norm),), pending.relu)
        if fits and (not self._training or all(v.pullable and not v.shared for v in readers)):
            return Pending((Term(self._join(pending, geometry)),))
        value = self._stored(pending)
        out = self._value(shape, value.needs_grad)
        self._add(plain.MaxPoolStage(layer, value, out, geometry))
        return Pending((Term(out),))

    def _avg_pool(self, layer: AvgPool2d, pending: Pending, shape: Shape) -> Pending:
        N, C, H, W = pending.shape
        window = (layer.kernel_size, layer.stride, layer.padding, 1, layer.ceil_mode)
        geometry = PoolGeometry(N, C, *windows.pool_axes((H, W), *window))
        value = self._stored(pending)
        out = self._value(shape, value.needs_grad)
        self._add(plain.AvgPoolStage(layer, value, out, geometry))
        return Pending((Term(out),))

    def _flatten(self, layer: Flatten, pending: Pending, shape: Shape) -> Pending:
        """Flatten for nothing where a join can store in the order that is wanted."""
        producer = self._producer(pending)
        pooled = isinstance(producer, ConvStage) and producer.pool is not None
        joined = isinstance(producer, JoinStage) or pooled or not pending.stored
        value = self._join(pending, None) if pooled else self._stored(pending)
        in_order = value.buffer.planned and joined and not value.shared
        value.buffer.in_order |= in_order
        is_view = value.buffer.in_order or np.prod(value.shape[2:]) == 1
        base = value.buffer if is_view or not value.buffer.planned else None
        buffer = Buffer(shape, self._dtype, planned=base is None, base=base)
        out = Value(buffer, needs_grad=value.needs_grad)
        self._add(plain.FlattenStage(layer, value, out))
        return Pending((Term(out),))

    def _simple(self, layer: Any, pending: Pending, shape: Shape) -> Pending:
        value = self._stored(pending)
        has_parameters = bool(layer.parameters())
        out = self._value(shape, value.needs_grad or has_parameters)
        self._add(_SIMPLE[type(layer)](layer, value, out))
        return Pending((Term(out),))

    def _by_itself(self, layer: Layer, pending: Pending) -> Pending:
        value = self._stored(pending)
        shape = _output_shape(layer, value.shape, self._dtype)
        buffer = Buffer(shape, self._dtype, planned=False, base=value.buffer)
        out = Value(buffer, needs_grad=value.needs_grad or bool(layer.parameters()))
        self._add(plain.LayerStage(layer, value, out, training=self._training))
        return Pending((Term(out),))

    def _stored(self, pending: Pending) -> Value:
        return pending.terms[0].value if pending.stored else self._join(pending, None)

    def _join(self, pending: Pending, pool: PoolGeometry | None) -> Value:
        needs_grad = any(term.value.needs_grad for term in pending.terms)
        out = self._value(pending.shape if pool is None else pool.y_shape, needs_grad)
        self._add(JoinStage(pending.terms, pending.relu, pool, out))
        return out

    def _value(self, shape: Shape, needs_grad: bool, pullable: bool = False) -> Value:
        return Value(Buffer(shape, self._dtype), needs_grad=needs_grad, pullable=pullable)

    def _add(self, stage: Stage) -> None:
        self.stages.append(stage)

    def _producer(self, pending: Pending) -> Stage | None:
        """Return the stage that stored a value just now, if that is all that is pending."""
        return self._last(pending) if pending.stored else None

    def _last(self, pending: Pending) -> Stage | None:
        """Return the same if that value is still to be read through batch-norm or ReLU."""
        last = self.stages[-1] if self.stages else None
        if last is None or len(pending.terms) > 1 or last.out is not pending.terms[0].value:
            return None
        return last


_SIMPLE: dict[type[Layer], Any] = {
    Linear: plain.LinearStage,
    GlobalAvgPool2d: plain.GlobalAvgPoolStage,
    PaddedShortcut: plain.ShortcutStage,
    Softmax: plain.SoftmaxStage,
}

_HANDLERS: dict[type[Layer], Any] = {
    Conv2d: Walk._convolution,
    BatchNorm1d: Walk._batch_norm,
    BatchNorm2d: Walk._batch_norm,
    ReLU: Walk._relu,
    MaxPool2d: Walk._max_pool,
    AvgPool2d: Walk._avg_pool,
    Flatten: Walk._flatten,
    **dict.fromkeys(_SIMPLE, Walk._simple),
}


def parts(layer: Layer) -> list[Layer]:
    """Return the layers that a layer consists of, as far as the walk goes into them, in order."""
    if type(layer) is Sequential:
        children = layer.layers
    elif type(layer) is Residual:
        children = list(layer.named_children().values())
    else:
        return [layer]
    found: list[Layer] = []
    for child in children:
        if type(child) in (Sequential, Residual):
            found += parts(child)
        else:
            found.append(child)
    return found


def _output_shape(layer: Layer, shape: Shape, dtype: np.dtype[Any]) -> Shape:
    """Return the output's shape, as the layer itself finds it on a batch of no images."""
    empty: FloatArray = np.empty((0, *shape[1:]), dtype)
    return (shape[0], *layer.forward(empty, training=False).shape[1:])
