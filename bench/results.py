"""What a run found: rows of times by turn, with the statistics that are quoted."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench import contestants
from bench.roofline import Roofline
from bench.selection import GROWING, exists
from bench.training_run import TrainingRun
from bench.turns import Item
from cnn.files import replacing

FORMAT = 1

FASTEST = 3
"""Turns whose mean is quoted. Whatever disturbs a turn makes it slower, and on a shared machine
most turns are disturbed. Share of ratios that came out within 10 % of each other when the same code
ran again: in three pairs of runs (138 ratios) 84 % with this mean, 82 % with the minimum, 70 % with
the tenth percentile; in one of those pairs (46 ratios) 91 % with the minimum, 61 % with the lower
quartile, 59 % with the median of ratios turn by turn."""

TRUSTED_SPREAD, DISTURBED = 0.20, "~"
"""Rows with more are marked as disturbed: without those, 93 % of the 138 ratios were within 10 %.
"""


class ResultsError(ValueError):
    """There is no saved run, or a file is none."""


@dataclass(frozen=True)
class Row:
    """One entrant's times on one pass of one case: seconds a call, turn by turn."""

    case: str
    pass_name: str
    contestant: str
    threads: int
    seconds: Sequence[float]
    check_seconds: float
    flops: int
    bytes: int
    peaks: Sequence[float] = field(default_factory=list)
    """10⁹ multiply-adds' operations a second, measured in the same turns, where they were."""

    @property
    def item(self) -> Item:
        """(case, pass)."""
        return self.case, self.pass_name

    @property
    def time(self) -> float:
        """Seconds of a call: the mean of the fastest turns."""
        return statistics.mean(sorted(self.seconds)[:FASTEST])

    @property
    def spread(self) -> float:
        """How much slower than the quoted time the lower quartile of the turns is."""
        return max(0.0, float(np.percentile(self.seconds, 25)) / self.time - 1)

    @property
    def disturbed(self) -> bool:
        """Whether too few turns came near the fastest ones to trust them."""
        return self.spread > TRUSTED_SPREAD

    @property
    def gflops(self) -> float:
        """10⁹ floating-point operations a second."""
        return self.flops / self.time / 1e9

    @property
    def peak(self) -> float | None:
        """The same of multiply-adds alone: the mean of the fastest turns; None if not measured."""
        return statistics.mean(sorted(self.peaks)[-FASTEST:]) if self.peaks else None

    @property
    def gigabytes(self) -> float:
        """10⁹ bytes a second."""
        return self.bytes / self.time / 1e9


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one row is as another, and whether one of them was disturbed."""

    value: float
    disturbed: bool


@dataclass(frozen=True)
class Refusal:
    """A contestant that was not timed on an item, or broke off, and why."""

    contestant: str
    case: str
    pass_name: str
    reason: str


@dataclass
class Run:
    """Everything a run found, as it is saved."""

    started: str
    suite: str
    threads: int
    rounds: int
    machine: dict[str, Any]
    versions: dict[str, str | None]
    missing: dict[str, str]
    roofline: Roofline
    rows: list[Row] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    training_runs: dict[str, TrainingRun] = field(default_factory=dict)
    duration_seconds: float = 0.0

    @cached_property
    def _by_key(self) -> dict[tuple[Item, str, int], Row]:
        return {(row.item, row.contestant, row.threads): row for row in self.rows}

    def items(self) -> list[Item]:
        """Return (case, pass) in the order they were run, without those of growth with size."""
        every = dict.fromkeys(row.item for row in self.rows)
        return [item for item in every if item not in GROWING]

    def row(self, item: Item, contestant: str, threads: int | None = None) -> Row | None:
        """Return a contestant's row, with the run's number of threads unless another is named."""
        return self._by_key.get((item, contestant, threads or self.threads))

    def speed(self, item: Item, contestant: str, other: str) -> Ratio | None:
        """Return how many times as fast as the other a contestant is, None if one is not there."""
        mine, theirs = self.row(item, contestant), self.row(item, other)
        return ratio(mine, theirs) if mine and theirs else None

    def best_peer(self, item: Item) -> str | None:
        """Return the name of the fastest peer on an item."""
        rows = [row for name in contestants.PEERS if (row := self.row(item, name))]
        return min(rows, key=lambda row: row.time).contestant if rows else None

    @property
    def peak_gflops(self) -> float:
        """The measured peak with all the run's threads."""
        return self.roofline["gflops_by_threads"][str(self.threads)]

    def peak_beside(self, item: Item) -> float:
        """The peak that was measured in the turns on an item, or else that of the whole run."""
        ours = self.row(item, contestants.OURS)
        return (ours and ours.peak) or self.peak_gflops

    def bandwidth(self, working_set: int) -> float:
        """Return the highest GB/s that was measured at this or a larger working set."""
        limits = self.roofline["bandwidth"]
        fitting = [limit for limit in limits if limit["working_set"] >= working_set]
        return max(limit["gb_per_second"] for limit in fitting or limits[-1:])

    def write(self, path: Path) -> None:
        """Write the run to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **asdict(self)}) + "\n")

    def save(self, folder: Path) -> Path:
        """Write the run into its machine's folder, named after its start."""
        path = folder / machine_id(self.machine) / f"{self.started.replace(':', '')}.json"
        self.write(path)
        return path


def ratio(mine: Row, theirs: Row) -> Ratio:
    """Return how many times as fast as theirs mine is."""
    return Ratio(theirs.time / mine.time, mine.disturbed or theirs.disturbed)


def load(path: Path) -> Run:
    """Read a saved run; rows of cases that are no more are left out.

    Raises
    ------
    ResultsError
        If the file is not one, or of another version's format.
    """
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise ValueError("of another format")
        rows = [Row(**row) for row in content["rows"]]
        content["rows"] = [row for row in rows if exists(row.case)]
        content["refused"] = [Refusal(**refusal) for refusal in content["refused"]]
        return Run(**content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ResultsError(f"{path} is not a saved run of this version: {error}") from None


def saved(folder: Path, machine: dict[str, Any]) -> list[Path]:
    """Return the files of a machine's runs, oldest first."""
    return sorted((folder / machine_id(machine)).glob("*.json"))


def machine_id(machine: dict[str, Any]) -> str:
    """Return a folder name for a machine: its CPU and how many of them a process may use."""
    name = re.sub(r"[^a-z0-9]+", "-", str(machine["cpu"]).lower()).strip("-")
    return f"{name or os.uname().machine}-{machine['usable_cores']}-cores"
