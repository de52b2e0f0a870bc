"""Neighbouring target pixels that share a vector, where the target has few channels.

In channels-last memory P pixels of C channels that lie side by side in a row are one pixel of P · C
channels. What they take of the source is the window of all of them, and a weight is zero where a
pixel does not take what its neighbours do. Backward to 6 channels through a window of 5 columns,
a pair takes 6 columns instead of 5 for each of them, and 12 lanes of 16 are used instead of 6.
32 images on 2 threads of Zen 4, ms, without and with: to those 6 channels of 14 × 14 0.39 and 0.26;
to one channel of 28 × 28 through 5×5 0.58 and 0.20, through 3×3 0.34 (by Winograd's algorithm) and
0.27; to 3 channels of 224 × 224 through 7×7 of stride 2, 8 images, 45 and 17. Where a row leaves a
rest, its last pixels are computed again with those before them: to one channel of 56 × 55 through
5×5 of stride 2 without neighbours 2.9, now 1.0.

NaN and infinity spread over the pixels that share a vector, since 0 · ∞ is NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from kernels.backends.numba.axes import Gather, Phase
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.plan_tables import Table

ROW = 6
"""Multiply-adds in the time that a row of a tile costs besides its terms."""

LEAST_GAIN = 1.25
"""How many times fewer multiply-adds there have to be: the packed weights become more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """``count`` pixels as one: its columns, and which column of the window each takes as a tap.

    ``taken`` is [pixel][tap], -1 where a pixel does not take what the tap is. Where rows do not
    divide into so many pixels, there is a phase for the last ones of a row, some of them again.
    """

    count: int
    columns: Gather
    taken: Table

    def taps(self, taps: Table, kernel: int) -> Table:
        """Return for each pixel the window's taps, of the joint window's; -1 for none."""
        row, column = np.divmod(taps, self.taken.shape[1])
        own = self.taken[:, column]
        return np.where(own < 0, -1, row * kernel + own).reshape(-1)

    def cost(self, channels: int, lanes: int, each: float) -> float:
        """Return the multiply-adds of vectors for each pixel, in units of a column's ``each``."""
        columns = self.columns
        counts = [columns.count(phase, columns.target_size) for phase in columns.phases]
        terms = sum(
            (len(phase.taps) + ROW / each) * count
            for phase, count in zip(columns.phases, counts, strict=True)
        )
        return terms * -(-self.count * channels // lanes) / columns.target_size


def best_neighbours(
    columns: Gather, channels: int, lanes: int, each: float
) -> tuple[Neighbours | None, float]:
    """Return the neighbours that cost the fewest multiply-adds, and how many times fewer.

    A column of taps has ``each`` terms: rows of taps times source channels. If these are infinitely
    many, nothing else counts.
    """
    taps = sum(len(phase.taps) for phase in columns.phases) / len(columns.phases)
    cost_alone = (taps + ROW / each) * -(-channels // lanes)
    most = min(columns.target_size, PANEL_VECTORS * lanes // channels)
    costs = {both: both.cost(channels, lanes, each) for both in _choices(columns, most)}
    best = min(costs, key=costs.__getitem__, default=None)
    if best is None or cost_alone < LEAST_GAIN * costs[best]:
        return None, 1.0
    return best, cost_alone / costs[best]


def _choices(columns: Gather, most: int) -> Iterator[Neighbours]:
    """Return the numbers of neighbours up to ``most``, whole steps."""
    step = columns.target_step
    for count in range(max(2, step), most + 1):
        if count % step == 0:
            yield _neighbours(columns, count)


def _neighbours(columns: Gather, count: int) -> Neighbours:
    size = columns.target_size
    phases: list[Phase] = []
    taken: list[list[int]] = []
    for first in (0,) if size % count == 0 else (0, size - count):
        places = _places(columns, first, count)
        taps = enumerate(sorted(places), start=len(taken))
        phases.append(Phase(first, tuple(taps)))
        taken += (places[place] for place in sorted(places))
    step = count // columns.target_step * columns.source_step
    joint = Gather(size, columns.source_size, count, step, tuple(phases), together=count)
    return Neighbours(count, joint, np.array(taken, np.int64).T)


def _places(columns: Gather, first: int, count: int) -> dict[int, list[int]]:
    """Return which tap each of the pixels from the first on takes from each source pixel."""
    places: dict[int, list[int]] = {}
    for pixel in range(count):
        step, phase = divmod(first + pixel, columns.target_step)
        for tap, source in columns.phases[phase].taps:
            place = step * columns.source_step + source
            places.setdefault(place, [-1] * count)[pixel] = tap
    return places
