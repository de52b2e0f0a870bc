"""Two runs of one machine side by side: which kernels became slower or faster.

The machine itself may not be as fast today as yesterday: times are compared as shares of the
multiply-adds that each run measured as the machine's peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import contestants, tables
from bench.results import Row, Run

LEAST_CHANGE = 0.25
"""Smaller changes are not reported. Of 22 rows of unchanged code in two pairs of short runs, 8
changed by more than 15 %, 3 by more than 25 %; a removed prange doubled its rows' times."""


@dataclass(frozen=True)
class Change:
    """What became of one row; ``change`` is new over old time, without the machine's drift."""

    old: Row
    new: Row
    change: float

    @property
    def noise(self) -> float:
        """What has to be exceeded to count: the spread of the two runs, or the least change."""
        return max(LEAST_CHANGE, (self.old.spread + self.new.spread) / 2)

    @property
    def verdict(self) -> str:
        """``"slower"``, ``"faster"`` or nothing."""
        if self.change > 1 + self.noise:
            return "slower"
        return "faster" if 1 / self.change > 1 + self.noise else ""


def changes(old: Run, new: Run) -> list[Change]:
    """Return what became of the rows of this project's backends that both runs have."""
    before = {(row.item, row.contestant, row.threads): row for row in old.rows}
    drift = old.peak_gflops / new.peak_gflops
    return [
        Change(mine, row, row.time / mine.time / drift)
        for row in new.rows
        if row.contestant in contestants.BACKENDS
        and (mine := before.get((row.item, row.contestant, row.threads)))
    ]


def report(old: Run, new: Run, found: Sequence[Change]) -> str:
    """Return the changes as Markdown, those that count first."""
    marked = sorted((c for c in found if c.verdict), key=lambda c: -c.change)
    lines = [
        f"{new.started} against {old.started}: {len(found)} rows, "
        f"{sum(c.verdict == 'slower' for c in marked)} slower, "
        f"{sum(c.verdict == 'faster' for c in marked)} faster beyond noise.",
        "",
    ]
    if not marked:
        return "\n".join(lines)
    rows = [
        [
            c.new.case,
            c.new.pass_name.replace("_", " "),
            f"{c.new.contestant}, {c.new.threads} threads",
            f"{c.old.time * 1e3:.3g}",
            f"{c.new.time * 1e3:.3g}",
            f"{c.change:.2f}",
            f"±{c.noise:.0%}",
            c.verdict,
        ]
        for c in marked
    ]
    heads = ["case", "pass", "contestant", "ms before", "ms now", "change", "noise", ""]
    return "\n".join([*lines, *tables.table(heads, rows, left=3)])
