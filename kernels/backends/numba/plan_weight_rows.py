"""The rows of a weight gradient's product: its terms, in the order in which tiles take them.

Where a tile has one vector it multiplies pairs of terms that lie side by side in memory: two
channels', or two of a row of the window. The last one of a row of odd length is paired with the one
before it once more, for sums that nobody reads. So 32 images of 3×32×32 to 16 channels took
0.83 of the time on 2 threads of Zen 5, and 1×28×28 through 3×3 0.97, to 6 through 5×5 0.82.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.numba.plan_tables import Table
from kernels.geometry import ConvGeometry

MOST_UNUSED = 1 / 3
"""Of the terms, up to which there may be some without use."""


def pairing(s: Any, geometry: ConvGeometry, lanes: int) -> tuple[bool, int]:
    """Return whether terms are paired, and how many without use that takes."""
    if s["grouped"] or s["in_group"] % 2 == 0:
        return not s["grouped"], 0
    unused = geometry.height.kernel * (_row_length(s, geometry) % 2)
    window_rows_are_whole = s["groups"] == s["parts"] == geometry.width.dilation == 1
    fits = window_rows_are_whole and s["out_group"] <= lanes and not s["winograd"]
    fits = fits and unused <= MOST_UNUSED * s["terms"]
    return fits, unused if fits else 0


def weight_rows(s: Any, geometry: ConvGeometry, taps: list[int], lanes: int) -> Table:
    """Return where the terms and their sums begin, from a tap's place on and from the first sum's.

    They are in the order of memory, where a tile finds most of its terms in one line of the cache:
    64 to 128 channels of stride 2 took 0.95 of the time so. If tasks have parts of the channels,
    not all of one size, the terms of a channel, or of a pair, follow one another: fewer channels
    have the first ones.
    """
    in_group, row = int(s["in_group"]), int(s["row"])
    channels, tap = min(in_group, int(s["part_channels"])), np.arange(len(taps))[:, None]
    if s["paired"] and in_group % 2:
        return _window_rows(s, geometry, taps)
    together = channels if s["ascending"] else 1 + int(s["paired"])
    channel = np.arange(channels).reshape(-1, 1, together)
    step, between = (lanes, lanes) if s["grouped"] else (1, row)
    places = (np.array(taps)[:, None] + step * channel, (tap * in_group + channel) * between)
    return np.stack(places, axis=-1).reshape(-1, 2)


def _window_rows(s: Any, geometry: ConvGeometry, taps: list[int]) -> Table:
    """Return the same, in the order of memory; a row of odd length has its last but one again."""
    length = _row_length(s, geometry)
    begin = np.array(taps[:: geometry.width.kernel])[:, None]
    element, row = np.arange(length), np.arange(len(begin))[:, None]
    term = row * length + element
    if length % 2:
        element = np.insert(element, length - 1, length - 2)
        term = np.insert(term, length - 1, s["terms"], axis=1)
    return np.stack((begin + element, term * s["row"]), axis=-1).reshape(-1, 2)


def _row_length(s: Any, geometry: ConvGeometry) -> int:
    return geometry.width.kernel * int(s["in_group"])
