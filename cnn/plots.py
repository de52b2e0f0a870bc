"""The two pictures of a training run. Colours are Okabe & Ito's, safe for the colour-blind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from cnn.arrays import FloatArray, IntArray
from cnn.files import replacing
from cnn.monitoring import EpochMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, INK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#222222"
GRID = 3
DPI = 150
LINE = 22
"""Characters that fit above an image, in bold."""


def plot_history(
    history: Sequence[EpochMetrics], path: str | os.PathLike[str], *, title: str
) -> None:
    """Draw loss and accuracy over epochs, training beside test, into a PNG file.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    _curves(losses, "loss (mean cross-entropy)", history, "loss", 1)
    losses.set_ylim(0, 1.05 * losses.dataLim.y1 or None)
    _curves(accuracies, "accuracy (%)", history, "accuracy", 100)
    last = history[-1]["test_accuracy"]
    figure.suptitle(f"{title}: {last:.1%} of the test images right", color=INK, parse_math=False)
    _save(figure, path)


def plot_predictions(
    images: FloatArray,
    labels: IntArray,
    probabilities: FloatArray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> None:
    """Draw a 3×3 grid of images with their true and predicted classes into a PNG file.

    Parameters
    ----------
    images : (N, C, H, W) array
        The first nine are drawn, or fewer if there are fewer: three channels in colour, else the
        first channel in grey.
    labels : (N,) array of integers
        True classes.
    probabilities : (N, K) array
        What the model gives each class.
    class_names : sequence of str
        What the classes are called.
    path : str or os.PathLike
        The file to write or replace.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6.8), layout="constrained")
    cells = figure.subplots(GRID, GRID).ravel()
    for axes in cells:
        axes.set_axis_off()
    shown = zip(cells, images, labels, probabilities, strict=False)
    for axes, image, label, distribution in shown:
        guess = int(distribution.argmax())
        right = guess == label
        if len(image) == 3:
            axes.imshow(image.transpose(1, 2, 0).clip(0, 1))
        else:
            axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(
            f"{_answer(class_names[label], class_names[guess])}\n"
            f"{'' if right else 'wrong, '}{distribution[guess]:.1%} sure",
            color=INK if right else RED,
            fontweight="normal" if right else "bold",
            fontsize=10,
            parse_math=False,  # a class may be called "$"
        )
    figure.suptitle("Predictions for the first test images", color=INK)
    _save(figure, path)


def _answer(label: str, guess: str) -> str:
    """Say what is true and what was predicted, in a line, or in two with as much as fits."""
    parts = f"true {label}", f"predicted {guess}"
    if len(line := ", ".join(parts)) <= LINE:
        return line
    return "\n".join(part if len(part) <= LINE else f"{part[: LINE - 1]}…" for part in parts)


def _curves(
    axes: Axes, label: str, history: Sequence[EpochMetrics], figure: str, factor: float
) -> None:
    """Draw one figure of all parts of the data that the history has."""
    from matplotlib.ticker import MaxNLocator

    epochs = [metrics["epoch"] for metrics in history]
    styles: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("train", "training (running mean)", dict(color=BLUE, marker="o")),
        ("validation", "validation", dict(color=GREEN, marker="^", linestyle=":")),
        ("test", "test", dict(color=ORANGE, marker="s", linestyle="--")),
    )
    for part, name, style in styles:
        values = [cast("dict[str, float]", m).get(f"{part}_{figure}") for m in history]
        shown = [factor * value for value in values if value is not None]
        if len(shown) == len(epochs):
            axes.plot(epochs, shown, label=name, **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
