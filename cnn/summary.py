"""What a model consists of: layers, shapes, parameters and floating-point operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.layers import (
    AvgPool2d,
    Conv2d,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from cnn.layers.normalization import BatchNorm
from kernels.ops import checks

if TYPE_CHECKING:
    from rich.table import Table

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of a model.

    Attributes
    ----------
    name : str
        Where it is: what comes before the dot in the names of its parameters.
    layer : str
        Its class.
    output_shape : tuple of int
        Of one image.
    parameters : int
        Trainable numbers in it; none in a row for the parts of which there are rows too.
    flops : int
        Floating-point operations of one image's forward pass, likewise.
    """

    name: str
    layer: str
    output_shape: Shape
    parameters: int
    flops: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The rows of all layers, and what they come to.

    Attributes
    ----------
    input_shape : tuple of int
        Of one image.
    rows : list of Row
        In the order of computation.
    """

    input_shape: Shape
    rows: list[Row]

    @property
    def parameters(self) -> int:
        """Trainable numbers of the model."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's forward pass."""
        return sum(row.flops for row in self.rows)


def summarize(model: Layer, input_shape: Sequence[int] | None = None) -> Summary:
    """Look through a model without computing anything.

    A multiplication and an addition count as one operation each, a comparison too. Batch-norm is
    counted as in inference: one multiplication and one addition. Layers of classes that this
    package does not know count 0 operations.

    Parameters
    ----------
    model : Layer
        Any model.
    input_shape : sequence of int, optional
        Shape of one image; that in the model's architecture if left out.

    Raises
    ------
    kernels.ShapeError, TypeError
        If images of that shape do not fit the model, or no shape is known.
    """
    if input_shape is None:
        architecture = model.architecture if isinstance(model, Sequential) else None
        input_shape = architecture.kwargs.get("input_shape") if architecture else None
    if not isinstance(input_shape, tuple | list):
        raise TypeError(f"input_shape must be a tuple of integers, got {input_shape!r}")
    shape = tuple(checks.integer(f"input_shape[{i}]", n, 1) for i, n in enumerate(input_shape))
    dtype = model.dtype if isinstance(model, Sequential) else np.dtype(np.float32)
    rows: list[Row] = []
    with kernels.use_backend("numpy"):  # a batch of no images costs nothing and has all shapes
        _walk(model, "", np.zeros((0, *shape), dtype), rows)
    return Summary(shape, rows)


def table(summary: Summary, title: str) -> Table:
    """Return a summary as a table for a terminal."""
    from rich.table import Table

    shown = Table(title=title, caption="FLOPs of one image forward", show_footer=True)
    shown.add_column("layer", "in all", no_wrap=True)
    shown.add_column("kind")
    shown.add_column("output of one image", no_wrap=True)
    shown.add_column("parameters", f"{summary.parameters:,}", justify="right")
    shown.add_column("FLOPs", f"{summary.flops:,}", justify="right")
    shown.add_row("", "input", _times(summary.input_shape), "", "")
    for row in summary.rows:
        parameters = f"{row.parameters:,}" if row.parameters else ""
        flops = f"{row.flops:,}" if row.flops else ""
        shown.add_row(row.name, row.layer, _times(row.output_shape), parameters, flops)
    return shown


def _walk(layer: Layer, name: str, x: FloatArray, rows: list[Row]) -> FloatArray:
    """Add the rows of a layer and its parts, and return its output."""
    if isinstance(layer, Sequential):
        for child, part in layer.named_children().items():
            x = _walk(part, _join(name, child), x, rows)
        return x
    y = layer.forward(x, training=False)
    if isinstance(layer, Residual):
        for child, part in layer.named_children().items():
            _walk(part, _join(name, child), x, rows)
        parameters = 0
    else:
        parameters = sum(parameter.data.size for parameter in layer.parameters())
    flops = _flops(layer, x.shape[1:], y.shape[1:])
    rows.append(Row(name, type(layer).__name__, y.shape[1:], parameters, flops))
    return y


def _flops(layer: Layer, x_shape: Shape, y_shape: Shape) -> int:
    outputs = math.prod(y_shape)
    if isinstance(layer, Conv2d | Linear):
        reduction = math.prod(layer.weight.data.shape[1:])
        return outputs * (2 * reduction - (layer.bias is None))
    if isinstance(layer, MaxPool2d | AvgPool2d):
        return outputs * (math.prod(layer.kernel_size) - isinstance(layer, MaxPool2d))
    if isinstance(layer, GlobalAvgPool2d):
        return math.prod(x_shape)
    if isinstance(layer, BatchNorm):
        return 2 * outputs
    if isinstance(layer, ReLU | Residual):
        return outputs
    return 0


def _join(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _times(shape: Shape) -> str:
    return " × ".join(map(str, shape))
