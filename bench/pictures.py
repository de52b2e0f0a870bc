"""The pictures of a run. Colours are Okabe & Ito's, safe for the colour-blind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import contestants, scaling, tables
from bench.results import Run
from bench.turns import Item
from cnn.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "numba": "#0072B2",
    "numpy": "#E69F00",
    "naive": "#999999",
    "torch": "#D55E00",
    "torch channels_last": "#CC79A7",
    "torch.compile": "#009E73",
    "torch.compile channels_last": "#56B4E9",
    "onnxruntime": "#222222",
}
GROUPS = {
    "numba": (("numba",), COLOURS["numba"]),
    "PyTorch, the best of its layouts, eager or compiled": (
        (*contestants.TORCH, *contestants.TORCH_COMPILE),
        COLOURS["torch"],
    ),
    "ONNX Runtime": ((contestants.ONNX_RUNTIME,), COLOURS["onnxruntime"]),
}
MARKERS = dict(zip(COLOURS, "osxD^v<P", strict=True))
DPI = 130
CAPTION_WIDTH = 130
LEGEND_ROOM = 1.35
"""Height of a panel over that of its highest line, where the legend stands on top."""


def draw(run: Run, folder: Path) -> list[tuple[str, str]]:
    """Draw what there is to draw; return (title, file name) of each picture."""
    drawings: dict[str, tuple[str, Callable[[Run], Figure]]] = {}
    if _compared(run):
        title = "Speed of each contestant over the numpy backend"
        drawings["speedups.png"] = (title, speedups)
    if any(_points(run, name) for name in contestants.EAGER):
        title = "Roofline of this machine, with the kernels on it"
        drawings["roofline.png"] = (title, roofline)
    if scaling.growing_contestants(run):
        title = "Growth with threads, batch and image size"
        drawings["scaling.png"] = (title, growth)
    for name, (_, make) in drawings.items():
        with replacing(folder / name) as temporary:
            make(run).savefig(temporary, format="png", dpi=DPI)
    return [(title, name) for name, (title, _) in drawings.items()]


def speedups(run: Run) -> Figure:
    """Draw how many times as fast as numpy are numba, PyTorch at its best, and ONNX Runtime."""
    items = [item for item in run.items() if run.row(item, "numpy")]
    figure = _figure(8.5, 1.6 + 0.23 * len(items))
    axes = figure.subplots()
    labelled = set()
    for place, item in enumerate(items):
        speeds = [(group, speed) for group in GROUPS if (speed := _best_speed(run, item, group))]
        height = 0.8 / max(1, len(speeds))
        for number, (group, speed) in enumerate(speeds):
            offset = (number - (len(speeds) - 1) / 2) * height
            label = None if group in labelled else group
            axes.barh(place + offset, speed, height, color=GROUPS[group][1], label=label)
            labelled.add(group)
    axes.axvline(1, color=COLOURS["numpy"], linewidth=2, label="numpy = 1")
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set_yticks(range(len(items)), [_label(item) for item in items], fontsize=8)
    axes.set_ylim(len(items) - 0.5, -0.5)
    axes.set_xlabel("times as fast as the numpy backend (logarithmic; longer is faster)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return _captioned(figure, run)


def _best_speed(run: Run, item: Item, group: str) -> float | None:
    speeds = [run.speed(item, name, "numpy") for name in GROUPS[group][0]]
    return max((speed.value for speed in speeds if speed), default=None)


def roofline(run: Run) -> Figure:
    """Draw GFLOP/s over FLOPs per byte, below the machine's two roofs."""
    figure = _figure(8.5, 5.2)
    axes = figure.subplots()
    peak = run.peak_gflops
    intensities = [2.0**power for power in range(-2, 13)]
    for limit in (run.roofline["bandwidth"][1], run.roofline["bandwidth"][-1]):
        roof = [min(peak, limit["gb_per_second"] * i) for i in intensities]
        where = tables.size(limit["working_set"])
        axes.plot(intensities, roof, color="#444444", linewidth=1)
        _write_along(axes, f"{limit['gb_per_second']:,.0f} GB/s ({where})", intensities[0], roof[0])
    axes.annotate(
        f"{peak:,.0f} GFLOP/s, {run.threads} threads",
        (intensities[-1], peak),
        ha="right",
        textcoords="offset points",
        xytext=(0, 4),
        fontsize=8,
    )
    shown = [n for n in contestants.EAGER if _points(run, n)]
    for name in shown:
        points = _points(run, name)
        axes.scatter(
            [intensity for intensity, _ in points],
            [gflops for _, gflops in points],
            s=22,
            color=COLOURS[name],
            marker=MARKERS[name],
            alpha=0.8,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("FLOPs per byte that has to move (convolutions and linear layers)")
    axes.set_ylabel("GFLOP/s")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _captioned(figure, run)


def _write_along(axes: Axes, text: str, x: float, y: float) -> None:
    """Write above a line through a point on which y is proportional to x."""
    x, y = 1.05 * x, 1.2 * y
    axes.text(
        x,
        y,
        text,
        rotation=math.degrees(math.atan2(y, x)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        fontsize=8,
    )


def growth(run: Run) -> Figure:
    """Draw speed over threads, and time per image over batch and image size."""
    figure = _figure(10.5, 4.0)
    threads, batches, images = figure.subplots(1, 3)
    names = scaling.growing_contestants(run)
    _draw_threads(threads, run, names)
    for axes, series, label, unit in (
        (batches, scaling.by_batch, "batch size", "training step: µs per image"),
        (images, scaling.by_image, "pixels of an image", "convolution 16→32: ns per pixel"),
    ):
        scale = 1e6 if series is scaling.by_batch else 1e9 / 8
        for name in names:
            points = series(run, name)
            sizes = [size for size, _ in points]
            axes.plot(
                sizes,
                [seconds / size * scale for size, seconds in points],
                color=COLOURS[name],
                marker=MARKERS[name],
                label=f"{name}: time ~ size^{scaling.exponent(points):.2f}",
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes)
        _plain_numbers(axes.xaxis)
        axes.set_ylim(0, LEGEND_ROOM * axes.get_ylim()[1])
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=7, loc="upper right")
    return _captioned(figure, run)


def _draw_threads(axes: Axes, run: Run, names: Sequence[str]) -> None:
    item: Item = ("mnist-conv2-b32", "forward")
    counts = [1]
    for name in names:
        speeds = scaling.by_threads(run, item, name)
        if len(speeds) > 1:
            counts = list(speeds)
            axes.plot(
                counts,
                [speed.value for speed in speeds.values()],
                color=COLOURS[name],
                marker=MARKERS[name],
                label=name,
            )
    axes.plot(counts, counts, color="#444444", linewidth=1, linestyle=":", label="proportional")
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("threads")
    axes.set_ylabel(f"{_label(item)}: times as fast as 1")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=7)


def _compared(run: Run) -> bool:
    """Tell whether anyone is there to be compared with numpy."""
    return any(_best_speed(run, item, group) for item in run.items() for group in GROUPS)


def _points(run: Run, name: str) -> list[tuple[float, float]]:
    rows = [row for item in run.items() if (row := run.row(item, name))]
    return [(row.flops / row.bytes, row.gflops) for row in rows if row.flops]


def _label(item: Item) -> str:
    return f"{item[0]} {item[1].replace('_', ' ')}"


def _plain_numbers(axis: object) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _captioned(figure: Figure, run: Run) -> Figure:
    """Put machine and versions below; whoever sees a picture alone has to know them."""
    import textwrap

    per_inch = CAPTION_WIDTH / 8.5
    width = round(per_inch * figure.get_figwidth())
    figure.supxlabel("\n".join(textwrap.wrap(tables.conditions(run), width)), fontsize=7)
    return figure
