"""Whether some convolution is far slower than one much like it: ``python -m bench.sweep``.

Times forward and both backward passes of the numba backend on a set of convolutions and on those
that differ from each in one thing: a channel, a pixel, an image, the stride, the padding, the
kernel, the dilation, the groups. Prints the pairs that differ most in time per multiply-add, and
exits with 1 if one exceeds the limit, 3. Where the work changes in kind, from one channel a group
to two for instance, the pair counts like any other. Multiply-adds are those of the definition, so
one of two neighbours may exceed the machine's peak by Winograd's algorithm, which
``CNN_KERNELS_WINOGRAD=0`` leaves out. Nothing is subtracted for the fixed cost of a call; all
convolutions have a million multiply-adds or more instead.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.case_types import ConvCase
from bench.contestants import backends
from bench.neighbours import BASES, LEAST_MULTIPLY_ADDS, neighbours
from bench.progress import Display
from cnn import environment
from cnn.files import replacing

LIMIT = 3.0
TURNS, TURN_SECONDS = 5, 0.002
CHECKS = 2
"""How often pairs beyond the limit are timed again: once, a disturbance of a second made all the
neighbours of a base up to 374 times as slow."""

QUICK_STEP = 4
"""Of so many bases, ``--quick`` takes one."""

SHOWN = 20
WIDTH = 160
"""Columns of a line where output is no terminal."""

Seconds = dict[str, float]
"""Of each pass."""

Timer = Callable[[Sequence[ConvCase]], list[Seconds]]
"""Times convolutions, in turn."""


@dataclass(frozen=True)
class Speed:
    """10⁹ floating-point operations a second, and how many there are for each byte that moves."""

    case: str
    gflops: float
    flops_per_byte: float


@dataclass(frozen=True)
class Pair:
    """A pass of a convolution and of a neighbour."""

    axis: str
    pass_name: str
    base: Speed
    neighbour: Speed

    @property
    def ratio(self) -> float:
        """How many times as long the slower of the two takes for as much work."""
        speeds = (self.base.gflops, self.neighbour.gflops)
        return max(speeds) / min(speeds)


def sweep(
    bases: Sequence[ConvCase], timer: Timer, show: Callable[[str, int, int], None]
) -> list[Pair]:
    """Time bases and neighbours; those beyond the limit again at the end, to be sure of them."""
    edges = [(axis, base, other) for base in bases for axis, other in neighbours(base)]
    best: dict[str, Seconds] = {}
    for done, base in enumerate(bases):
        show(base.id, done, len(bases))
        _time(timer, [base, *(other for _, one, other in edges if one is base)], best)
    for _ in range(CHECKS):
        doubtful = [edge for edge in edges if any(p.ratio > LIMIT for p in _pairs(*edge, best))]
        for done, (_, base, other) in enumerate(doubtful):
            show(f"{base.id} and {other.id} again", done, len(doubtful))
            _time(timer, [base, other], best)
    return [pair for edge in edges for pair in _pairs(*edge, best)]


def _time(timer: Timer, cases: Sequence[ConvCase], best: dict[str, Seconds]) -> None:
    for case, times in zip(cases, timer(cases), strict=True):
        known = best.setdefault(case.id, times)
        best[case.id] = {name: min(seconds, known[name]) for name, seconds in times.items()}


def _pairs(axis: str, base: ConvCase, other: ConvCase, best: dict[str, Seconds]) -> list[Pair]:
    return [
        Pair(axis, name, _speed(base, name, best), _speed(other, name, best))
        for name in ConvCase.passes
    ]


def _speed(case: ConvCase, name: str, best: dict[str, Seconds]) -> Speed:
    flops = case.flops(name)
    return Speed(case.id, flops / best[case.id][name] / 1e9, flops / case.bytes(name))


def time_in_turn(cases: Sequence[ConvCase]) -> list[Seconds]:
    """Return the fastest call of each pass in some turns; the first call, which plans, is apart."""
    functions = [backends.prepare(case, "numba") for case in cases]
    best = [dict.fromkeys(ConvCase.passes, math.inf) for _ in cases]
    for function in (function for passes in functions for function in passes.values()):
        function()
    for _ in range(TURNS):
        for passes, seconds in zip(functions, best, strict=True):
            for name, function in passes.items():
                seconds[name] = min(seconds[name], _fastest(function))
    return best


def _fastest(function: Callable[[], object]) -> float:
    best, end = math.inf, time.perf_counter() + TURN_SECONDS
    while (start := time.perf_counter()) < end:
        function()
        best = min(best, time.perf_counter() - start)
    return best


def table(pairs: Sequence[Pair]) -> Table:
    """Return the pairs that differ most, and all beyond the limit."""
    worst = sorted(pairs, key=lambda pair: -pair.ratio)
    beyond = sum(pair.ratio > LIMIT for pair in worst)
    shown = Table(
        title=f"{beyond} of {len(pairs)} pairs differ more than {LIMIT:g} x per multiply-add",
        caption=f"All have {LEAST_MULTIPLY_ADDS:,} multiply-adds or more.",
    )
    for heading in ("convolution", "its neighbour", "pass"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("GFLOP/s", "GFLOP/s", "ratio", "FLOP/byte", "FLOP/byte"):
        shown.add_column(heading, justify="right")
    for pair in worst[: max(SHOWN, beyond)]:
        one, other = pair.base, pair.neighbour
        shown.add_row(
            *(one.case, other.case, pair.pass_name),
            *(f"{one.gflops:.1f}", f"{other.gflops:.1f}", f"{pair.ratio:.2f}"),
            *(f"{one.flops_per_byte:.1f}", f"{other.flops_per_byte:.1f}"),
            style="bold" if pair.ratio > LIMIT else None,
        )
    return shown


def save(pairs: Sequence[Pair], path: Path) -> None:
    """Write all pairs as JSON."""
    found = {
        "machine": environment.machine(),
        "versions": environment.versions(),
        "limit": LIMIT,
        "pairs": [asdict(pair) | {"ratio": pair.ratio} for pair in pairs],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def select(patterns: Sequence[str], quick: bool) -> list[ConvCase]:
    """Return the bases that are meant.

    Raises
    ------
    ValueError
        If a pattern matches none of them.
    """
    for pattern in patterns:
        if not any(fnmatchcase(base.id, pattern) for base in BASES):
            raise ValueError(
                f"base must match one of {', '.join(b.id for b in BASES)}; got {pattern!r}"
            )
    chosen = [b for b in BASES if not patterns or any(fnmatchcase(b.id, p) for p in patterns)]
    return chosen[:: QUICK_STEP if quick else 1]


def main(arguments: Sequence[str] | None = None, timer: Timer = time_in_turn) -> int:
    """Print the table; return 1 if a pair exceeds the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__)
    parser.add_argument("base", nargs="*", help="names of bases, or patterns like 'b1-*' (all)")
    parser.add_argument("--quick", action="store_true", help=f"one base of {QUICK_STEP}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file for all pairs")
    options = parser.parse_args(arguments)
    try:
        bases = select(options.base, options.quick)
    except ValueError as error:
        parser.error(str(error))
    with Display() as display:
        pairs = sweep(bases, timer, display.show)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(pairs))
    if options.out:
        save(pairs, options.out)
    return int(any(pair.ratio > LIMIT for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
