"""The terms of a gather's sums: from which places of the scratch buffer, in blocks of which length.

A phase's terms are its window's taps times the channels. Those that lie side by side in memory make
a run; runs make blocks, which are summed up in registers.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kernels.backends.numba.axes import Gather, Phase
from kernels.backends.numba.plan_tables import BLOCK, PHASE, Table, records

MOST_TERMS = 512
"""Terms of the sums that are added up in registers before they go to memory: rounding errors grow
with a block's length and the number of blocks, not with their product."""


def tables(shape: Any, rows: Gather, columns: Gather, kernel: int) -> tuple[Table, ...]:
    """Make the tables of phases, blocks of terms, places, and taps; count them in the shape.

    The table of places has the segments of all phases, then their target pixels. Phases without
    taps are left out where the target is cleared.
    """
    channels, joined = int(shape["in_group"]), shape["groups"] == 1
    spans: list[tuple[int, ...]] = []
    blocks: list[tuple[int, int, int]] = []
    segments: list[tuple[int, int]] = []
    pixels: list[Table] = []
    taps: list[int] = []
    for row_phase, column_phase in itertools.product(rows.phases, columns.phases):
        if shape["cleared"] and not (row_phase.taps and column_phase.taps):
            continue
        pair = (rows, row_phase), (columns, column_phase)
        terms, first_block = len(taps) * channels, len(blocks)
        both = itertools.product(row_phase.taps, column_phase.taps)
        taps.extend(p * kernel + q for (p, _), (q, _) in both)
        for before, runs in _blocks(runs_of(tap_offsets(shape, *pair), channels, joined)):
            blocks.append((len(segments), len(segments) + len(runs), terms + before))
            segments.extend(runs)
        spans.append((*_counts(shape, *pair), first_block, len(blocks)))
        pixels.append(_pixels(shape, *pair))
    shape["phases"], shape["terms"] = len(spans), len(taps) * channels
    firsts = itertools.accumulate(map(len, pixels), initial=len(segments))
    phases = [(first, *span) for first, span in zip(firsts, spans, strict=False)]
    return (
        records(np.array(phases, PHASE)),
        records(np.array(blocks, BLOCK)),
        pairs(segments, *pixels),
        np.array(taps, np.int64),
    )


def tap_offsets(
    shape: Any, row_phase: tuple[Gather, Phase], column_phase: tuple[Gather, Phase]
) -> list[int]:
    """Return where in the scratch buffer a phase's taps lie, from its first pixel's place."""
    (rows, down), (columns, across) = row_phase, column_phase
    width, pixel = int(shape["scratch_columns"]), int(shape["pixel"])
    return [
        ((p - rows.low) * width + q - columns.low) * pixel
        for (_, p), (_, q) in itertools.product(down.taps, across.taps)
    ]


def _counts(
    shape: Any, row_phase: tuple[Gather, Phase], column_phase: tuple[Gather, Phase]
) -> tuple[int, int]:
    """Return the number of a phase's target pixels in a band of one image, and in the last one."""
    (rows, down), (columns, across) = row_phase, column_phase
    last_rows = rows.target_size - int(shape["bands"] - 1) * int(shape["band_rows"])
    width = columns.count(across, columns.target_size)
    return rows.count(down, int(shape["band_rows"])) * width, rows.count(down, last_rows) * width


def _pixels(
    shape: Any, row_phase: tuple[Gather, Phase], column_phase: tuple[Gather, Phase]
) -> Table:
    """Return where a phase's target pixels begin in the scratch buffer, and in the target."""
    (rows, down), (columns, across) = row_phase, column_phase
    band = min(int(shape["band_rows"]), rows.target_size)
    image = np.arange(int(shape["chunk"]))[:, None, None]
    i = np.arange(rows.count(down, band))[:, None]
    j = np.arange(columns.count(across, columns.target_size))
    row = image * int(shape["scratch_rows"]) + i * rows.source_step
    source = row * int(shape["scratch_columns"]) + j * columns.source_step
    row = image * rows.target_size + down.first + i * rows.target_step
    target = row * columns.target_size + across.first + j * columns.target_step
    places = (source * int(shape["pixel"]), target * int(shape["target_channels"]))
    return np.stack(np.broadcast_arrays(*places), axis=-1).reshape(-1, 2)


def runs_of(offsets: list[int], channels: int, joined: bool) -> list[tuple[int, int]]:
    """Return the taps' terms as runs (offset, length) of at most MOST_TERMS."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if joined and runs and sum(runs[-1]) == offset and runs[-1][1] + channels <= MOST_TERMS:
            runs[-1] = (runs[-1][0], runs[-1][1] + channels)
            continue
        for start in range(0, channels, MOST_TERMS):
            runs.append((offset + start, min(MOST_TERMS, channels - start)))
    return runs


def _blocks(runs: list[tuple[int, int]]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Group runs into blocks of at most MOST_TERMS terms, with the number of terms before."""
    blocks: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    before = 0
    for run in runs:
        if blocks[-1][1] and before - blocks[-1][0] + run[1] > MOST_TERMS:
            blocks.append((before, []))
        blocks[-1][1].append(run)
        before += run[1]
    return blocks


def steps(count: int, first: int, second: int) -> Table:
    """Return the pairs (0, 0), (first, second), (2 · first, 2 · second), ..."""
    return np.outer(np.arange(count), (first, second))


def pairs(*parts: list[tuple[int, int]] | Table) -> Table:
    """Return pairs of integers one after the other, as the micro-kernel reads them."""
    return np.concatenate([np.array(part, np.int64).reshape(-1) for part in parts])
