"""Every layer's gradients, and a whole network's, against finite differences and the naive backend.

Each gradient is multiplied by a random direction v and compared with the loss's slope along v,
``(L(p + h·v) - L(p - h·v)) / 2h``, so that all its entries count at the price of two forward
passes; then, entry by entry, with the gradient from the naive backend. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import kernels
from cnn import models
from cnn.arrays import FloatArray
from cnn.layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    PaddedShortcut,
    ReLU,
    Residual,
    Softmax,
)
from kernels import dispatch
from kernels.ops import checks

if TYPE_CHECKING:
    from rich.table import Table

STEPS = (1e-5, 1e-6)
"""A kink of ReLU or max-pooling between the two points spoils one step, a wrong gradient both."""

SLOPE_TOLERANCE = 1e-8
"""Largest error of a slope, relative to the sum of its terms' absolute values."""

ROUNDINGS = 100.0
"""Roundings of the loss that a slope may hold besides: each is eps · L / h."""

NAIVE_TOLERANCE = 1e-12
"""Largest difference from the naive backend, relative to the subject's largest gradient."""

Loss = Callable[[FloatArray], tuple[float, FloatArray]]


class Subject(NamedTuple):
    """A model and a loss: what is differentiated."""

    name: str
    model: Layer
    x: FloatArray
    loss: Loss


@dataclass(frozen=True)
class Check:
    """What came of one gradient: its errors as shares of what is allowed."""

    subject: str
    array: str
    slope: float
    naive: float

    @property
    def passed(self) -> bool:
        """Whether both errors are within what is allowed."""
        return self.slope <= 1.0 and self.naive <= 1.0


def subjects(seed: int) -> Iterator[Subject]:
    """Yield every layer, the loss, and the whole network."""
    rng = np.random.default_rng(seed)
    f64: dict[str, Any] = {"rng": rng, "dtype": "float64"}
    image = (3, 4, 6, 7)
    layers: list[tuple[str, Layer, tuple[int, ...]]] = [
        ("Conv2d", Conv2d(4, 5, 3, padding=1, **f64), image),
        ("Conv2d, strided, dilated", Conv2d(4, 3, 2, 2, (1, 2), 2, **f64), image),
        ("Conv2d, 2 groups", Conv2d(4, 6, (3, 2), groups=2, **f64), image),
        ("Conv2d, depthwise", Conv2d(4, 4, 3, padding="same", groups=4, **f64), image),
        ("MaxPool2d", MaxPool2d(2), image),
        ("MaxPool2d, overlapping", MaxPool2d(3, 2, 1), image),
        ("AvgPool2d", AvgPool2d(2), image),
        ("AvgPool2d, overlapping", AvgPool2d(3, 2, 1, True, False), image),
        ("BatchNorm1d", BatchNorm1d(7, dtype="float64"), (5, 7)),
        ("BatchNorm2d", BatchNorm2d(4, dtype="float64"), image),
        ("ReLU", ReLU(), image),
        ("Softmax", Softmax(), (5, 7)),
        ("Flatten", Flatten(), image),
        ("Linear", Linear(7, 6, **f64), (5, 7)),
        ("GlobalAvgPool2d", GlobalAvgPool2d(), image),
        ("Dropout", Dropout(0.4, rng=seed), image),
        ("PaddedShortcut", PaddedShortcut(4, 6, 2), image),
        ("Residual", Residual(Conv2d(4, 4, 3, padding=1, **f64)), image),
        (
            "Residual, padded",
            Residual(Conv2d(4, 6, 3, 2, 1, **f64), PaddedShortcut(4, 6, 2)),
            image,
        ),
    ]
    for name, layer, shape in layers:
        x = rng.standard_normal(shape)
        yield Subject(name, _shaken(layer, rng), x, _weighted_sum(layer, x, rng))
    logits = rng.standard_normal((5, 7))
    yield Subject("softmax_cross_entropy", Flatten(), logits, _cross_entropy(rng, 5, 7))
    network = _shaken(models.mnist_cnn((1, 4, 4), 3, seed, "float64"), rng)
    yield Subject(
        "mnist_cnn", network, rng.standard_normal((4, 1, 4, 4)), _cross_entropy(rng, 4, 3)
    )


def _shaken(model: Layer, rng: np.random.Generator) -> Layer:
    """Move biases and batch-norm weights away from 0 and 1, so that they count."""
    for parameter in model.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.data.shape)
    return model


def _weighted_sum(layer: Layer, x: FloatArray, rng: np.random.Generator) -> Loss:
    weights = rng.standard_normal(layer.forward(x, training=False).shape)
    return lambda y: (float((weights * y).sum()), weights)


def _cross_entropy(rng: np.random.Generator, rows: int, classes: int) -> Loss:
    labels = rng.integers(0, classes, rows)
    return lambda logits: (*kernels.softmax_cross_entropy(logits, labels),)


def check(subject: Subject, backend: str, seed: int = 0) -> list[Check]:
    """Check the gradients of a subject's input and parameters.

    Parameters
    ----------
    subject : Subject
        One of :func:`subjects`.
    backend : str
        The backend to check.
    seed : int
        Of the directions.

    Returns
    -------
    list of Check
        The input's first.
    """
    rng = np.random.default_rng(seed)
    with kernels.use_backend("naive"):
        reference = _gradients(subject)
    with kernels.use_backend(backend):
        gradients = _gradients(subject)
        slopes = {
            name: _slope_error(subject, array, gradients[name], rng)
            for name, array in _arrays(subject).items()
        }
    allowed = NAIVE_TOLERANCE * max(float(abs(g).max()) for g in reference.values())
    return [
        Check(subject.name, name, slope, _largest(gradients[name] - reference[name]) / allowed)
        for name, slope in slopes.items()
    ]


def run(backend: str | None, seed: int = 0) -> bool:
    """Check all subjects, print a table, and return whether all gradients passed.

    Raises
    ------
    kernels.UnknownBackendError, kernels.ShapeError, TypeError
        If an argument does not fit.
    """
    from rich.console import Console

    chosen = dispatch.chosen_name(backend)
    checks.integer("seed", seed, 0)
    found = [result for subject in subjects(seed) for result in check(subject, chosen, seed)]
    Console().print(_table(found, chosen))
    failed = sum(not result.passed for result in found)
    print(f"{len(found)} gradients, {failed} failed; errors are shares of what is allowed")
    return failed == 0


def _table(found: list[Check], backend: str) -> Table:
    from rich.table import Table

    table = Table(title=f"gradients of backend {backend}", title_justify="left")
    for heading in ("layer", "gradient of"):
        table.add_column(heading)
    for heading in ("error of slope", "from naive"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for result in found:
        shares = (f"{share:.0e}" for share in (result.slope, result.naive))
        table.add_row(result.subject, result.array, *shares, "ok" if result.passed else "FAILED")
    return table


def _arrays(subject: Subject) -> dict[str, FloatArray]:
    parameters = subject.model.named_parameters()
    return {"input": subject.x} | {name: p.data for name, p in parameters.items()}


def _gradients(subject: Subject) -> dict[str, FloatArray]:
    """Return the gradient of each array from one forward and one backward pass."""
    _, grad_y = subject.loss(_forward(subject))
    gradients = {"input": subject.model.backward(grad_y)}
    for name, parameter in subject.model.named_parameters().items():
        if parameter.grad is None:
            raise RuntimeError(f"{subject.name}: backward has set no gradient of {name}")
        gradients[name] = parameter.grad
    return gradients


def _slope_error(
    subject: Subject, array: FloatArray, gradient: FloatArray, rng: np.random.Generator
) -> float:
    """Return the smallest error over the steps, as a share of what is allowed."""
    direction = rng.uniform(-1.0, 1.0, array.shape)
    terms = gradient * direction
    middle = _loss(subject)
    errors = []
    for step in STEPS:
        above, below = (_shifted_loss(subject, array, s * direction) for s in (step, -step))
        rounding = ROUNDINGS * np.finfo(np.float64).eps * (1.0 + abs(middle)) / step
        allowed = SLOPE_TOLERANCE * float(abs(terms).sum()) + rounding
        errors.append(abs((above - below) / (2 * step) - float(terms.sum())) / allowed)
    return min(error if math.isfinite(error) else math.inf for error in errors)


def _shifted_loss(subject: Subject, array: FloatArray, shift: FloatArray) -> float:
    kept = array.copy()
    array += shift
    try:
        return _loss(subject)
    finally:
        array[...] = kept


def _loss(subject: Subject) -> float:
    return subject.loss(_forward(subject))[0]


def _forward(subject: Subject) -> FloatArray:
    """Run the model in training mode, with the same random draws each time."""
    for generator in subject.model.named_generators().values():
        generator.bit_generator.state = np.random.default_rng(0).bit_generator.state
    return subject.model.forward(subject.x, training=True)


def _largest(difference: FloatArray) -> float:
    largest = float(abs(difference).max())
    return largest if math.isfinite(largest) else math.inf
