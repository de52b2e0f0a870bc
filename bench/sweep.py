"""Whether some convolution is far slower than one much like it: ``python -m bench.sweep``.

Times forward and both backward passes of the numba backend on a set of convolutions and on those
that differ from each in one thing: a channel, a pixel, an image, the stride, the padding, the
kernel, the dilation, the groups. Prints the pairs that differ most in time per multiply-add, and
exits with 1 if one exceeds the limit, 3, although the machine would allow the slower of the two to
be faster. Multiply-adds are those of the definition, so one of two neighbours may exceed the
machine's peak by Winograd's algorithm, which ``CNN_KERNELS_WINOGRAD=0`` leaves out; and a 1×1
window has a ninth of a 3×3 one's to the same bytes. So a pair whose slower member takes hardly
longer than it must (``least_seconds``) is listed, but does not count. Where the work changes in
kind otherwise, from one channel a group to two for instance, a pair counts like any other.
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
from bench.limits import Limits
from bench.neighbours import BASES, LEAST_MULTIPLY_ADDS, conv, neighbours
from bench.progress import Display
from bench.roofline import measure
from cnn import environment
from cnn.files import replacing
from kernels.backends.numba.threads import most

LIMIT = 3.0
TURNS, TURN_SECONDS, TURN_CALLS = 5, 0.002, 12
"""A turn takes so long, and has so many calls at least: of 24 MB, which were in no cache after the
other passes, the first call of a turn took 837 µs, the fifth 318 and the twelfth 224."""

CHECKS = 2
"""How often pairs beyond the limit are timed again: once, a disturbance of a second made all the
neighbours of a base up to 374 times as slow."""

QUICK_STEP = 4
"""Of so many bases, ``--quick`` takes one."""

NEAR = 0.7
"""Share of what the machine allows from which on a pass is not too slow: what a pass bound by
compute is to reach."""

SHOWN = 20
WIDTH = 160
"""Columns of a line where output is no terminal."""

Seconds = dict[str, float]
"""Of each pass."""

Timed = dict[tuple[str, str], list[tuple[Seconds, Seconds]]]
"""Of a base and a neighbour, by their names: those of both, each time."""

Timer = Callable[[Sequence[ConvCase]], list[Seconds]]
"""Times convolutions, in turn."""


def measured_limits() -> Limits:
    """Measure them, with all threads."""
    found = measure(most())
    (seconds,) = time_in_turn([conv(1, 1, 1, 1, 1)])
    return Limits(found["gflops_by_threads"][str(most())], found, min(seconds.values()))


@dataclass(frozen=True)
class Speed:
    """10⁹ floating-point operations a second, how many there are for each byte that moves.

    ``of_limit`` is the share that the least seconds are of those that it takes.
    """

    case: str
    gflops: float
    flops_per_byte: float
    of_limit: float


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

    @property
    def slower(self) -> Speed:
        """The one of the two that takes longer for as much work."""
        return min(self.base, self.neighbour, key=lambda speed: speed.gflops)

    @property
    def too_far(self) -> bool:
        """Whether it is beyond the limit, and not for what the machine allows."""
        return self.ratio > LIMIT and self.slower.of_limit < NEAR


def sweep(
    bases: Sequence[ConvCase],
    timer: Timer,
    measuring: Callable[[], Limits],
    show: Callable[[str, int, int], None],
) -> list[Pair]:
    """Time bases and neighbours; those beyond the limit again, to be sure of them.

    Both are of the same turns, and those count in which they differ least. A machine runs at half
    its speed for a while: a base's best time of many and another's of few were up to 3.4 apart.
    """
    edges = [(axis, base, other) for base in bases for axis, other in neighbours(base)]
    limits = measuring()
    timed: Timed = {}
    for done, base in enumerate(bases):
        show(base.id, done, len(bases))
        others = [other for _, one, other in edges if one is base]
        of_base, *of_others = timer([base, *others])
        for other, seconds in zip(others, of_others, strict=True):
            timed[base.id, other.id] = [(of_base, seconds)]
    for _ in range(CHECKS):
        doubtful = [
            (base, other)
            for axis, base, other in edges
            if any(p.ratio > LIMIT for p in _pairs(axis, base, other, timed, limits))
        ]
        for done, (base, other) in enumerate(doubtful):
            show(f"{base.id} and {other.id} again", done, len(doubtful))
            one, two = timer([base, other])
            timed[base.id, other.id].append((one, two))
    limits = limits.best(measuring())
    return [pair for edge in edges for pair in _pairs(*edge, timed, limits)]


def _pairs(axis: str, base: ConvCase, other: ConvCase, timed: Timed, limits: Limits) -> list[Pair]:
    """Return a pair for each pass, as the turns saw it in which it differed least."""
    return [
        min(
            (
                Pair(axis, name, _speed(base, name, one, limits), _speed(other, name, two, limits))
                for one, two in timed[base.id, other.id]
            ),
            key=lambda pair: pair.ratio,
        )
        for name in ConvCase.passes
    ]


def _speed(case: ConvCase, name: str, times: Seconds, limits: Limits) -> Speed:
    flops, seconds = case.flops(name), times[name]
    least = limits.least_seconds(case, name)
    return Speed(case.id, flops / seconds / 1e9, flops / case.bytes(name), least / seconds)


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
    best, calls, end = math.inf, 0, time.perf_counter() + TURN_SECONDS
    while (start := time.perf_counter()) < end or calls < TURN_CALLS:
        function()
        best, calls = min(best, time.perf_counter() - start), calls + 1
    return best


def table(pairs: Sequence[Pair]) -> Table:
    """Return the pairs that differ most, and all beyond the limit."""
    worst = sorted(pairs, key=lambda pair: -pair.ratio)
    beyond, too_far = (sum(p.ratio > LIMIT for p in pairs), sum(p.too_far for p in pairs))
    shown = Table(
        title=f"{too_far} of {len(pairs)} pairs differ more than {LIMIT:g} x per multiply-add; "
        f"{beyond - too_far} more, where the machine sets the pace of the slower",
        caption=f"All have {LEAST_MULTIPLY_ADDS:,} multiply-adds or more. Of the limit: the least "
        "that a call, its multiply-adds or its bytes take, of what the slower took.",
    )
    for heading in ("convolution", "its neighbour", "pass"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("GFLOP/s", "GFLOP/s", "ratio", "FLOP/byte", "FLOP/byte", "of the limit"):
        shown.add_column(heading, justify="right")
    for pair in worst[: max(SHOWN, beyond)]:
        one, other = pair.base, pair.neighbour
        shown.add_row(
            *(one.case, other.case, pair.pass_name),
            *(f"{one.gflops:.1f}", f"{other.gflops:.1f}", f"{pair.ratio:.2f}"),
            *(f"{one.flops_per_byte:.1f}", f"{other.flops_per_byte:.1f}"),
            f"{pair.slower.of_limit:.0%}",
            style="bold" if pair.too_far else None,
        )
    return shown


def save(pairs: Sequence[Pair], path: Path) -> None:
    """Write all pairs as JSON."""
    found = {
        "machine": environment.machine(),
        "versions": environment.versions(),
        "limit": LIMIT,
        "near": NEAR,
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


def main(
    arguments: Sequence[str] | None = None,
    timer: Timer = time_in_turn,
    measuring: Callable[[], Limits] = measured_limits,
) -> int:
    """Print the table; return 1 if a pair is too far apart."""
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
        pairs = sweep(bases, timer, measuring, display.show)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(pairs))
    if options.out:
        save(pairs, options.out)
    return int(any(pair.too_far for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
