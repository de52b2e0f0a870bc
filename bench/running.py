"""A whole run: who runs what, the limits of the machine, the turns, and what was found."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import cases, contestants, reference, roofline, selection, training_run, turns
from bench.case_types import ConvCase
from bench.contestants import Entrant
from bench.results import Refusal, Row, Run
from bench.turns import Item
from cnn import environment
from kernels import threads as kernel_threads

ROUNDS = 6
"""Turns of a contestant on an item before its processes are started anew."""

GENERATIONS = {selection.QUICK: 6, selection.FULL: 3}
"""How often all processes are started. Where its memory happens to lie can make a process half as
fast as its twin for as long as it lives (numba's max-pool: medians of 0.20 to 0.25 ms in eight
processes, 0.32 and 0.53 in two)."""

SECONDS = {selection.QUICK: 280.0}
"""A suite ends before a generation that would take it beyond this."""

FEW_GENERATIONS = {"naive": 1} | dict.fromkeys(contestants.TORCH_COMPILE, 1)
"""For those that take long to get going, or to finish."""

SCALING_GENERATIONS = 2
"""For the processes with fewer threads."""

Progress = Callable[[str, int, int], None]
"""Called with what runs now, turns done, and turns in all."""


@dataclass(frozen=True)
class Plan:
    """What to run: the chosen items, who takes part, with how many threads and turns."""

    suite: str
    items: Sequence[Item]
    names: Sequence[str]
    threads: int
    generations: int
    seconds: float = math.inf
    rounds: int = ROUNDS
    whole: bool = True
    """Also thread scaling, growth with size, and training runs: everything a report shows."""

    def order(self) -> list[Item]:
        """Return the items in the order in which they are run."""
        return list(dict.fromkeys([*self.items, *(selection.GROWING if self.whole else ())]))

    def entrants(self, generation: int) -> dict[Entrant, list[Item]]:
        """Return who takes part in a generation, and in which items."""
        names = [
            name for name in self.names if generation < FEW_GENERATIONS.get(name, self.generations)
        ]
        order = self.order()
        entrants = {Entrant(name, self.threads): selection.taken_by(name, order) for name in names}
        if generation < SCALING_GENERATIONS:
            entrants |= {
                Entrant(name, count): self._scaled(name)
                for count in fewer_threads(self.threads)
                for name in names
            }
        return {entrant: items for entrant, items in entrants.items() if items}

    def _scaled(self, name: str) -> list[Item]:
        """Return the items that a contestant takes part in with fewer threads, too."""
        some = cases.THREAD_SCALING if self.whole and name in contestants.EAGER else ()
        all_convolutions = self.suite == selection.FULL and name == contestants.OURS
        return [
            item
            for item in self.items
            if item[0] in some
            or (all_convolutions and isinstance(selection.case(item[0]), ConvCase))
        ]

    def turns(self) -> int:
        """Return how many turns are taken in all, the checks included."""
        return sum(
            len(items) * (1 + turns.rounds_of(entrant.name, self.rounds))
            for generation in range(self.generations)
            for entrant, items in self.entrants(generation).items()
        )


def fewer_threads(threads: int) -> list[int]:
    """Return 1, 2, 4 ... below a number of threads."""
    return [2**power for power in range(threads.bit_length()) if 2**power < threads]


def default_names() -> list[str]:
    """Return the contestants that can take part here."""
    return [name for name, lacks in contestants.available().items() if lacks is None]


def run(plan: Plan, progress: Progress) -> Run:
    """Measure what the plan says."""
    started, clock = datetime.now().astimezone(), time.perf_counter()
    total, done = plan.turns(), 0

    def on_turn(item: Item, who: str) -> None:
        nonlocal done
        done += 1
        progress(f"{item[0]} {item[1]}: {who}", done, total)

    found = _Found()
    with tempfile.TemporaryDirectory(prefix="cnn-kernels-bench-") as name:
        folder = Path(name)
        progress("the limits of this machine", 0, total)
        before = roofline.measure_apart(plan.threads, folder)
        progress("the expected results", 0, total)
        for case_id, pass_name in plan.order():
            reference.prepare(selection.case(case_id), pass_name, folder)
        training_runs = {}
        if plan.whole:
            progress("starts and memory of training runs", 0, total)
            training_runs = training_run.measure_all(list(plan.names), plan.threads, folder)
        for generation in range(plan.generations):
            began = time.perf_counter()
            entrants = plan.entrants(generation)
            found.add(*turns.compete(entrants, plan.order(), plan.rounds, folder, on_turn))
            now = time.perf_counter()
            # The first takes about twice as long as the others: it says nothing of the next one.
            if generation > 0 and now + (now - began) - clock > plan.seconds:
                break
        progress("the limits of this machine", done, total)
        after = roofline.measure_apart(plan.threads, folder)
    return Run(
        started=started.isoformat(timespec="seconds"),
        suite=plan.suite,
        threads=plan.threads,
        rounds=plan.rounds * (generation + 1),
        machine=dict(environment.machine()),
        versions=environment.versions() | _peer_versions(plan.names),
        missing={
            name: lacks for name, lacks in contestants.available().items() if lacks is not None
        },
        roofline=roofline.best(before, after),
        rows=found.rows(),
        refused=found.refusals(),
        training_runs=training_runs,
        duration_seconds=time.perf_counter() - clock,
    )


def most_threads() -> int:
    """Return the number of threads that a run takes if none is named: all CPUs there are."""
    return kernel_threads.largest()


class _Found:
    """What pytest-benchmark wrote, merged: a row for all generations of an entrant on an item."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Entrant, Item], list[float]] = {}
        self._check_seconds: dict[tuple[Entrant, Item], float] = {}
        self._peaks: dict[tuple[Entrant, Item], list[float]] = {}
        self._refused: dict[tuple[Entrant, Item], str] = {}

    def add(
        self,
        reports: Mapping[Entrant, dict[str, Any]],
        refused: Mapping[tuple[Entrant, Item], str],
    ) -> None:
        """Take in a generation."""
        self._refused |= refused
        for entrant, report in reports.items():
            for benchmark in report["benchmarks"]:
                extra, params = benchmark["extra_info"], benchmark["params"]
                key = (entrant, (params["case_id"], params["pass_name"]))
                calls = [_rounded(t / extra["calls"]) for t in benchmark["stats"]["data"]]
                self._seconds.setdefault(key, []).extend(calls)
                self._peaks.setdefault(key, []).extend(map(_rounded, extra["peaks"]))
                self._check_seconds.setdefault(key, extra["check_seconds"])

    def rows(self) -> list[Row]:
        """Return what was timed, without those who were refused."""
        return [
            Row(
                case=item[0],
                pass_name=item[1],
                contestant=entrant.name,
                threads=entrant.threads,
                seconds=seconds,
                check_seconds=self._check_seconds[entrant, item],
                flops=selection.case(item[0]).flops(item[1]),
                bytes=selection.case(item[0]).bytes(item[1]),
                peaks=self._peaks[entrant, item],
            )
            for (entrant, item), seconds in self._seconds.items()
            if (entrant, item) not in self._refused
        ]

    def refusals(self) -> list[Refusal]:
        """Return who was refused, and why."""
        return [Refusal(entrant.name, *item, why) for (entrant, item), why in self._refused.items()]


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def _peer_versions(names: Sequence[str]) -> dict[str, str | None]:
    modules = {"torch" if name.startswith("torch") else name for name in names}
    return {name: version(name) for name in sorted(modules & {"torch", "onnxruntime"})}
