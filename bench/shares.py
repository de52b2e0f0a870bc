"""Shares of the measured peak: of those convolutions that are bound by it."""

from __future__ import annotations

from bench import contestants
from bench.case_types import ConvCase
from bench.results import DISTURBED, Run
from bench.selection import case
from bench.turns import Item

LEAST_CHANNELS, LEAST_SHARE = 16, 0.70
"""What is aimed for, and where: with fewer channels vectors are not full."""

LEAST_SECONDS = 10e-6
"""At the peak: of shorter passes the call takes a good part."""


def of_peak(run: Run) -> dict[Item, float]:
    """Return the share of each pass of a convolution that multiply-adds bound, lowest first.

    Multiply-adds bound it if at the peak they take longer than its bytes do at the bandwidth of its
    working set.
    """
    shares = {}
    for item in run.items():
        convolution, row = case(item[0]), run.row(item, contestants.OURS)
        if row is None or not isinstance(convolution, ConvCase):
            continue
        groups, peak = convolution.groups, run.peak_beside(item)
        computing = row.flops / peak / 1e9
        moving = row.bytes / run.bandwidth(row.bytes) / 1e9
        enough = min(convolution.C, convolution.O) // groups >= LEAST_CHANNELS
        if enough and computing > max(moving, LEAST_SECONDS):
            shares[item] = row.gflops / peak
    return dict(sorted(shares.items(), key=lambda entry: entry[1]))


def sentence(run: Run) -> list[str]:
    """Return a line: how many passes reach the share that is aimed for, and which do not."""
    shares = of_peak(run)
    if not shares:
        return []
    short = [
        f"{item[0]} {item[1].replace('_', ' ')} {_mark(run, item)}{share:.0%}"
        for item, share in shares.items()
        if share < LEAST_SHARE
    ]
    return [
        f"Of {len(shares)} passes with {LEAST_CHANNELS} or more channels that multiply-adds bound, "
        f"{len(shares) - len(short)} do a direct convolution's operations at {LEAST_SHARE:.0%} or "
        "more of the rate that multiply-adds reach alone"
        + (f"; not {', '.join(short)}." if short else ".")
    ]


def _mark(run: Run, item: Item) -> str:
    row = run.row(item, contestants.OURS)
    return DISTURBED if row and row.disturbed else ""
