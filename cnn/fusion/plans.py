"""What was fused, in words, and where the arrays of a training step will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import kernels
from cnn.fusion.memory import Shape
from cnn.fusion.plain_stages import PlainStage
from cnn.fusion.program import Program
from cnn.fusion.stages import ConvStage, JoinStage, Stage
from cnn.fusion.values import Term, Value
from cnn.layers import Layer, Sequential
from cnn.layers.composite import Composite
from kernels.geometry import PoolGeometry

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    Attributes
    ----------
    computes : str
        What, with ``#3`` for the output of stage 3, ``norm`` for batch-norm and layers by name.
    output_shape : tuple of int
        Of one image.
    offset, nbytes : int or None
        Where its output is in the block, and how large; None for one that is no part of it: a view,
        or an array that a layer makes itself.
    """

    computes: str
    output_shape: Shape
    offset: int | None
    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages of a training step, and its memory.

    Attributes
    ----------
    batch_size : int
        Images.
    steps : list of Step
        In the order of the forward pass.
    buffers : int
        Arrays with a place in the block: activations, gradients, positions.
    nbytes_apart, nbytes : int
        What they would take side by side, and the size of the block.
    """

    batch_size: int
    steps: list[Step]
    buffers: int
    nbytes_apart: int
    nbytes: int


def plan(model: Sequential, batch_size: int = 32, input_shape: Sequence[int] | None = None) -> Plan:
    """Return how a fused training step of a model runs.

    Parameters
    ----------
    model : Sequential
        Any model.
    batch_size : int
        Images of a mini-batch.
    input_shape : sequence of int, optional
        Of one image; that in the model's architecture if left out.

    Raises
    ------
    kernels.ShapeError, TypeError
        If such images do not fit the model, or no shape is known.
    """
    if input_shape is None:
        input_shape = model.architecture.kwargs.get("input_shape") if model.architecture else None
    if not isinstance(input_shape, tuple | list):
        raise TypeError(f"input_shape must be a tuple of integers, got {input_shape!r}")
    with kernels.use_backend("numpy"):
        program = Program(model, (batch_size, *input_shape), training=True)
    names = {id(layer): name for name, layer in _named_layers(model, "")}
    numbers = {id(stage.out): f"#{number}" for number, stage in enumerate(program.stages, 1)}
    steps = [_step(stage, names, numbers) for stage in program.stages]
    apart = sum(buffer.nbytes for buffer in program.buffers)
    return Plan(batch_size, steps, len(program.buffers), apart, program.size)


def table(plan: Plan) -> Table:
    """Return a plan as a table for a terminal."""
    from rich.table import Table

    caption = (
        f"{plan.buffers} buffers of {_mega(plan.nbytes_apart)} in all "
        f"share {_mega(plan.nbytes)}; norm is batch-norm"
    )
    shown = Table(title=f"a training step of {plan.batch_size} images", caption=caption)
    shown.add_column("stage")
    shown.add_column("computes")
    shown.add_column("output of one image", no_wrap=True)
    shown.add_column("at, MB", justify="right")
    shown.add_column("MB", justify="right")
    for number, step in enumerate(plan.steps, 1):
        place = ["" if n is None else f"{n / 1e6:.2f}" for n in (step.offset, step.nbytes)]
        shape = " × ".join(map(str, step.output_shape))
        shown.add_row(f"#{number}", step.computes, shape, *place)
    return shown


def _step(stage: Stage, names: dict[int, str], numbers: dict[int, str]) -> Step:
    buffer = stage.out.buffer
    offset, nbytes = (buffer.offset, buffer.nbytes) if buffer.planned else (None, None)
    return Step(_computes(stage, names, numbers), stage.out.shape[1:], offset, nbytes)


def _computes(stage: Stage, names: dict[int, str], numbers: dict[int, str]) -> str:
    if isinstance(stage, ConvStage):
        layer = f"{type(stage.layer).__name__} {names[id(stage.layer)]}"
        moments = "" if stage.norm is None else f", moments for {names[id(stage.norm.layer)]}"
        pooled = "" if stage.pool is None else f", {_pooling(stage.pool)}"
        return f"{layer} of {_reads((stage.term,), stage.relu, numbers)}{moments}{pooled}"
    if isinstance(stage, JoinStage):
        read = _reads(stage.terms, stage.relu, numbers)
        if stage.pool is None:
            return read
        return f"{_pooling(stage.pool)} of {read}"
    if isinstance(stage, PlainStage):
        layer = f"{type(stage.layer).__name__} {names[id(stage.layer)]}"
        return f"{layer} of {_value(stage.inputs[0], numbers)}"
    return type(stage).__name__


def _pooling(pool: PoolGeometry) -> str:
    return f"max-pool {pool.height.kernel}×{pool.width.kernel}"


def _reads(terms: tuple[Term, ...], relu: bool, numbers: dict[int, str]) -> str:
    values = [_value(term.value, numbers) for term in terms]
    parts = [
        value if term.norm is None else f"norm({value})"
        for value, term in zip(values, terms, strict=True)
    ]
    total = " + ".join(parts)
    return f"relu({total})" if relu else total


def _value(value: Value, numbers: dict[int, str]) -> str:
    return numbers.get(id(value), "input")


def _named_layers(layer: Layer, name: str) -> list[tuple[str, Layer]]:
    found = [(name, layer)]
    if isinstance(layer, Composite):
        for child, part in layer.named_children().items():
            found += _named_layers(part, f"{name}.{child}" if name else child)
    return found


def _mega(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB"
