"""How times change with threads, batch and image size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from bench import cases, contestants
from bench.case_types import FORWARD, TRAINING_STEP, ConvCase
from bench.results import Ratio, Row, Run, ratio
from bench.selection import GROWING, case
from bench.turns import Item


def by_threads(run: Run, item: Item, contestant: str) -> dict[int, Ratio]:
    """Return for each number of threads how many times as fast it is as one thread."""
    single = run.row(item, contestant, 1)
    counts = sorted({row.threads for row in run.rows if row.contestant == contestant})
    rows = {n: row for n in counts if (row := run.row(item, contestant, n))}
    return {n: ratio(row, single) for n, row in rows.items()} if single else {}


def of_convolutions(run: Run) -> list[str]:
    """Return a line: how many times as fast all of them are with all threads as with one."""
    items = [item for item in run.items() if isinstance(case(item[0]), ConvCase)]
    speeds = [by_threads(run, item, contestants.OURS).get(run.threads) for item in items]
    values = [speed.value for speed in speeds if speed]
    if run.threads == 1 or not values:
        return []
    mean = statistics.geometric_mean(values)
    peaks = [growth for item in items if (growth := _peak_growth(run, item))]
    alone = f"; multiply-adds alone {statistics.geometric_mean(peaks):.2f}" if peaks else ""
    return [
        f"{contestants.OURS}'s {run.threads} threads over 1: {mean:.2f}, geometric mean of "
        f"{len(values)} passes of convolutions, timed in turn{alone}."
    ]


def _peak_growth(run: Run, item: Item) -> float | None:
    """Return how many times as many multiply-adds all threads did as one, in turns on an item."""
    single, all_threads = (run.row(item, contestants.OURS, n) for n in (1, run.threads))
    if not (single and all_threads and single.peak and all_threads.peak):
        return None
    return all_threads.peak / single.peak


def by_batch(run: Run, contestant: str) -> list[tuple[int, float]]:
    """Return (batch size, seconds) of a training step, smallest first."""
    return _series(run, contestant, TRAINING_STEP)


def by_image(run: Run, contestant: str) -> list[tuple[int, float]]:
    """Return (pixels of an image, seconds) of a convolution, smallest first."""
    return _series(run, contestant, FORWARD)


def exponent(series: Sequence[tuple[int, float]]) -> float:
    """Return p of the least-squares fit seconds = a · sizeᵖ; 1 is proportional."""
    sizes, seconds = np.array(series).T
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def growing_contestants(run: Run) -> list[str]:
    """Return those of whom growth was measured."""
    return [name for name in contestants.EAGER if len(by_batch(run, name)) > 1]


def thread_lines(run: Run) -> list[str]:
    """Return a Markdown table: speed with all threads over speed with one."""
    items = [item for item in run.items() if item[0] in cases.THREAD_SCALING]
    names = [n for n in contestants.EAGER if any(by_threads(run, i, n) for i in items)]
    if run.threads == 1 or not names:
        return ["Thread scaling needs more than one thread."]
    lines = [
        f"| {run.threads} threads over 1 | {' | '.join(names)} |",
        "| --- |" + " ---: |" * len(names),
    ]
    for item in items:
        cells = []
        for name in names:
            speed = by_threads(run, item, name).get(run.threads)
            cells.append(f"{'~' if speed.disturbed else ''}{speed.value:.2f}" if speed else "")
        lines.append(f"| {item[0]} {item[1].replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


def growth_lines(run: Run) -> list[str]:
    """Return a Markdown table of fitted exponents."""
    names = growing_contestants(run)
    lines = [
        f"| time grows like size to the power of | {' | '.join(names)} |",
        "| --- |" + " ---: |" * len(names),
    ]
    for what, series in (("training step, batch", by_batch), ("convolution, pixels", by_image)):
        cells = " | ".join(f"{exponent(series(run, name)):.2f}" for name in names)
        sizes = [size for size, _ in series(run, names[0])] if names else [0]
        lines.append(f"| {what} {sizes[0]:,} to {sizes[-1]:,} | {cells} |")
    return lines


def _series(run: Run, contestant: str, pass_name: str) -> list[tuple[int, float]]:
    items = [item for item in GROWING if item[1] == pass_name]
    rows = [row for item in items if (row := run.row(item, contestant))]
    return sorted((_size(row), row.time) for row in rows)


def _size(row: Row) -> int:
    shape = case(row.case).x_shape
    return shape[0] if row.pass_name == TRAINING_STEP else shape[2] * shape[3]
