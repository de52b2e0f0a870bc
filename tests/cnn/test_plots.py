"""The two pictures: drawn, whole, and no other matplotlib state touched."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn import plots
from cnn.monitoring import EpochMetrics

HISTORY = [
    EpochMetrics(
        epoch=epoch,
        train_loss=1 / epoch,
        train_accuracy=1 - 0.1 / epoch,
        test_loss=1.2 / epoch,
        test_accuracy=1 - 0.12 / epoch,
        seconds=1.0,
        images_per_second=100.0,
    )
    for epoch in (1, 2, 3)
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved, newest last."""
    figures: list[Figure] = []
    save = plots._save

    def recording(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "_save", recording)
    return figures


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_history(tmp_path: Path, drawn: list[Figure]) -> None:
    path = tmp_path / "graph.png"
    plots.plot_history(HISTORY, path, title="mnist_cnn on digits, naive backend")
    assert png_size(path) == (1350, 570)
    (figure,) = drawn
    assert figure.get_suptitle() == (
        "mnist_cnn on digits, naive backend: 96.0% of the test images right"
    )
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == (
        "loss (mean cross-entropy)",
        "accuracy (%)",
    )
    for axes, key, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        assert axes.get_xlabel() == "epoch"
        for line, split in zip(axes.lines, ("train", "test"), strict=True):
            assert str(line.get_label()).startswith(split)
            assert line.get_xdata().tolist() == [1, 2, 3]
            values = [scale * metrics[f"{split}_{key}"] for metrics in HISTORY]
            assert line.get_ydata() == pytest.approx(values)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_epochs_are_whole_numbers(epochs: int, tmp_path: Path, drawn: list[Figure]) -> None:
    plots.plot_history(HISTORY[:epochs], tmp_path / "graph.png", title="")
    for axes in drawn[0].axes:
        left, right = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
        assert ticks == list(range(1, epochs + 1))


def test_predictions_show_what_is_wrong(tmp_path: Path, drawn: list[Figure]) -> None:
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), np.arange(9) % 3] = 0.8
    labels = np.arange(9) % 3
    labels[4] = 2
    path = tmp_path / "pred.png"
    plots.plot_predictions(np.zeros((9, 1, 4, 4)), labels, probabilities, ("a", "b", "c"), path)
    assert png_size(path) == (900, 1020)
    titles = [axes.title for axes in drawn[0].axes]
    assert titles[0].get_text() == "true a, predicted a\n80.0% sure"
    assert titles[4].get_text() == "true c, predicted b\nwrong, 80.0% sure"
    assert [title.get_color() == plots.RED for title in titles] == [i == 4 for i in range(9)]


def test_long_names_stay_above_their_image(tmp_path: Path, drawn: list[Figure]) -> None:
    names = ("ankle boot", "T-shirt/top", "a coat with a hood and a fur collar")
    probabilities = np.eye(3)[np.arange(9) % 3]
    path = tmp_path / "pred.png"
    plots.plot_predictions(np.zeros((9, 1, 4, 4)), np.arange(9) // 3, probabilities, names, path)
    widths = [axes.title.get_window_extent().width for axes in drawn[0].axes]
    assert max(widths) < plots.DPI * drawn[0].get_figwidth() / plots.GRID
    assert (
        drawn[0].axes[1].get_title() == "true ankle boot\npredicted T-shirt/top\nwrong, 100.0% sure"
    )


def test_markers_of_the_loss_are_whole(tmp_path: Path, drawn: list[Figure]) -> None:
    for history in (HISTORY[:1], HISTORY, [HISTORY[0] | {"train_loss": 0.0, "test_loss": 0.0}]):
        plots.plot_history(history, tmp_path / "graph.png", title="")
        loss = drawn[-1].axes[0]
        bottom, top = loss.get_ylim()
        assert bottom == 0
        assert top > 1.04 * loss.dataLim.y1


def test_names_are_no_formulas(tmp_path: Path) -> None:
    one, names = np.full((1, 2), 0.5), ("$\\frac$", "b")
    plots.plot_predictions(np.zeros((1, 1, 4, 4)), np.zeros(1, int), one, names, tmp_path / "p.png")
    plots.plot_history(HISTORY, tmp_path / "graph.png", title="on $\\frac$")
    assert png_size(tmp_path / "p.png") == (900, 1020)


def test_fewer_than_nine_images(tmp_path: Path, drawn: list[Figure]) -> None:
    one = np.full((1, 2), 0.5)
    path = tmp_path / "pred.png"
    plots.plot_predictions(np.zeros((1, 1, 4, 4)), np.zeros(1, int), one, ("a", "b"), path)
    assert [bool(axes.images) for axes in drawn[0].axes] == [True] + [False] * 8


def test_three_channels_are_colours(tmp_path: Path, drawn: list[Figure]) -> None:
    image = np.zeros((1, 3, 2, 5))
    image[0, 0] = 1
    path = tmp_path / "pred.png"
    plots.plot_predictions(image, np.zeros(1, int), np.full((1, 2), 0.5), ("a", "b"), path)
    (shown,) = drawn[0].axes[0].images
    assert np.array_equal(shown.get_array(), np.broadcast_to([1, 0, 0], (2, 5, 3)))


def test_validation_has_a_curve_if_there_is_one(tmp_path: Path, drawn: list[Figure]) -> None:
    history: list[Any] = [
        metrics | {"validation_loss": 0.5, "validation_accuracy": 0.8} for metrics in HISTORY
    ]
    plots.plot_history(history, tmp_path / "graph.png", title="")
    for axes, value in zip(drawn[0].axes, (0.5, 80), strict=True):
        labels = [line.get_label() for line in axes.lines]
        assert labels == ["training (running mean)", "validation", "test"]
        assert axes.lines[1].get_ydata() == pytest.approx([value] * 3)


def test_pyplot_stays_out(tmp_path: Path) -> None:
    plots.plot_history(HISTORY, tmp_path / "graph.png", title="")
    assert "matplotlib.pyplot" not in sys.modules
    assert [path.name for path in tmp_path.iterdir()] == ["graph.png"]
