"""A model made ready to run on batches of one shape: stages, and where their arrays are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter

import numpy as np

import kernels
from cnn.arrays import FloatArray, IntArray
from cnn.batches import count_correct
from cnn.fusion.memory import Block, Buffer, Shape, place
from cnn.fusion.passes import BackwardPass, ForwardPass, UpdatePass
from cnn.fusion.stages import Stage
from cnn.fusion.walking import Walk, parts
from cnn.layers import AvgPool2d, Conv2d, Layer, MaxPool2d, PaddedShortcut, Residual, Sequential
from cnn.optim.base import Optimizer
from cnn.rollback import has_state
from kernels import dispatch, fused
from kernels.layout import memory_order
from kernels.ops import checks


class Program:
    """The stages of a model for batches of one shape, on the current backend.

    Parameters
    ----------
    model : Sequential
        What to run; its layers' parameters and settings are looked up as it runs, but layers must
        not be added, replaced or given other windows (:func:`structure` tells).
    shape : (N, ...)
        Of the batch.
    training : bool
        Whether it is to learn, by :meth:`loss` and what follows, or to predict, by :meth:`forward`.
    last : sequence of Layer
        What follows the model's layers.

    Attributes
    ----------
    stages : list of Stage
        In the order of computation.
    stateful : list of Layer
        Those with running statistics or generators.
    size : int
        Bytes of the block that it needs.

    Raises
    ------
    kernels.ShapeError, TypeError
        If a batch of that shape does not fit the model.
    """

    def __init__(
        self, model: Sequential, shape: Shape, *, training: bool, last: Sequence[Layer] = ()
    ) -> None:
        self._learns = training
        self._input = Buffer(shape, model.dtype)
        walk = Walk(self._input, training=training)
        self._output = walk.through(model, last)
        self.stages, self._norms = walk.stages, walk.norms
        self.stateful = list(filter(has_state, parts(model)))
        self._grad = Buffer(self._output.shape, model.dtype)
        self._labels = Buffer(shape[:1], np.dtype(np.int64))
        self._losses = Buffer(shape[:1], np.dtype(np.float64))
        self._reversed = self._linked() if training else []
        # A stage without gradients may hand on another array each time, which backward reads too.
        repeats = all(stage.repeats for stage in self.stages)
        loss = self._cross_entropy if training else None
        self._forward = ForwardPass(self.stages, repeats, self._norms, loss)
        self._backward = BackwardPass(self._reversed, repeats)
        self._update = UpdatePass(self._reversed, repeats, model)
        self.buffers = self._scheduled()
        self.size = place(self.buffers)

    def bind(self, block: Block) -> None:
        """Take a block that holds :attr:`size` bytes as memory."""
        orders: dict[int, tuple[int, ...]] = {}
        backend = dispatch.resolve(None)
        for buffer in self.buffers:
            axes = len(buffer.shape)
            if axes not in orders:
                orders[axes] = memory_order(backend.empty((2,) * axes, buffer.dtype))
            in_order = buffer.in_order
            buffer.array = block.view(buffer, tuple(range(axes)) if in_order else orders[axes])

    def forward(self, x: FloatArray) -> FloatArray:
        """Return a prediction for a batch of the shape; it lasts until the next run."""
        assert not self._learns, "a program that learns computes the loss as well"
        self._run_forward(x)
        return self._output.buffer.array

    def loss(self, x: FloatArray, labels: IntArray) -> float:
        """Return the mean cross-entropy of a labelled batch of the shape.

        Raises
        ------
        kernels.ShapeError
            If the model's outputs are no logits, (N, K), or the labels do not fit them.
        """
        if len(self._output.shape) != 2:
            raise kernels.ShapeError(f"logits must be (N, K), got shape {self._output.shape}")
        checks.shape("labels", labels, self._labels.shape, "the images of the batch")
        checks.within("labels", labels, self._output.shape[1], "the columns of logits")
        np.copyto(self._labels.array, labels, casting="unsafe")  # none is large
        self._run_forward(x)
        return float(np.add.reduce(self._losses.array)) / len(labels)

    def correct(self) -> int:
        """Return how many of the batch's labels the last loss found right."""
        return count_correct(self._output.buffer.array, self._labels.array)

    def backward(self) -> None:
        """Set the gradients of all parameters, those of the last loss."""
        self._backward.run()

    def backward_and_update(self, optimizer: Optimizer) -> bool:
        """Do as :meth:`backward`, then a step of the optimiser, or return False.

        See :meth:`UpdatePass.run_with`.
        """
        return self._update.run_with(optimizer)

    def _run_forward(self, x: FloatArray) -> None:
        np.copyto(self._input.array, x)
        self._forward.run()

    def _cross_entropy(self) -> None:
        fused.cross_entropy(
            # A user's layer may return another dtype than the model's.
            self._output.buffer.array.astype(self._grad.dtype, copy=False),
            self._labels.array,
            losses=self._losses.array,
            grad_logits=self._grad.array,
        )

    def _linked(self) -> list[Stage]:
        """Tell the stages where gradients are; return those that have any, last to first."""
        self._output.grad = self._grad
        behind = [stage for stage in reversed(self.stages) if stage.out.needs_grad]
        for stage in behind:
            if stage.out.grad is None:
                raise AssertionError("a stage whose output nobody reads")
            stage.link(stage.out.grad)
        return behind

    def _scheduled(self) -> list[Buffer]:
        """Find out when each buffer is used; return those that need a place in the block."""
        used: dict[int, Buffer] = {}

        def use(buffers: Iterable[Buffer], moment: int) -> None:
            for buffer in buffers:
                buffer.use(moment)
                planned: Buffer | None = buffer
                while planned is not None:
                    used[id(planned)] = planned
                    planned = planned.base

        labels = [self._labels] if self._learns else []
        use([self._input, *labels], 0)
        for moment, stage in enumerate(self.stages, 1):
            use(stage.forward_buffers(), moment)
        of_loss = len(self.stages) + 1
        if self._learns:
            use([self._output.buffer, self._labels, self._losses, self._grad], of_loss)
        for moment, stage in enumerate(self._reversed, of_loss + 1):
            use(stage.backward_buffers(), moment)
        end = of_loss + len(self._reversed) + 1
        use([self._output.buffer, *labels], end)
        return [buffer for buffer in used.values() if buffer.planned]


_settings_of: dict[type[Layer], Callable[[Layer], object]] = {
    Conv2d: attrgetter("stride", "padding", "dilation", "groups"),
    MaxPool2d: attrgetter("kernel_size", "stride", "padding"),
    AvgPool2d: attrgetter(
        *("kernel_size", "stride", "padding", "ceil_mode"),
        *("count_include_pad", "divisor_override"),
    ),
    PaddedShortcut: attrgetter("in_channels", "out_channels", "stride"),
}


def structure(model: Layer) -> list[object]:
    """Return what makes programs of a model another's: its layers and their windows."""
    found: list[object] = []
    for layer in parts(model):
        found.append(layer)
        settings = _settings_of.get(type(layer))
        if settings is not None:
            found.append(settings(layer))
    return found


def lists_of_layers(model: Layer) -> list[list[Layer]]:
    """Return the lists that :func:`structure` looks into: users change them in place."""
    if type(model) is Sequential:
        return [model.layers, *chain.from_iterable(map(lists_of_layers, model.layers))]
    if type(model) is Residual:
        return list(chain.from_iterable(map(lists_of_layers, model.named_children().values())))
    return []
