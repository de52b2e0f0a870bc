"""What the planner's constants are worth: ``python -m bench.plans CASE PASS VARIANT...``.

Measures a pass of a case as it is planned and with some of the constants changed, in turn in one
process, and prints the fastest turn and the median of the turns' ratios. A variant is
``NAME=VALUE``, or several with commas between them: ``python -m bench.plans resnet18-c256-b8
backward_weight SUMS_BYTES=163840 SUMS_BYTES=163840,MOST_PARTIALS=8``. Without variants each
constant is halved, and doubled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from bench import cases
from bench.case_types import ConvCase
from bench.contestants import backends
from kernels.backends.numba import (
    plan,
    plan_at_once,
    plan_cuts,
    plan_terms,
    plan_weights,
    winograd_cost,
)
from kernels.ops import repeating

TURNS, TURN_SECONDS, FASTEST = 16, 0.02, 3
CASES = {
    case.id: case for suite in cases.SUITES.values() for case in suite if isinstance(case, ConvCase)
}
CONSTANTS: dict[str, tuple[ModuleType, ...]] = {
    "SCRATCH_BYTES": (plan_cuts,),
    "MOST_SCRATCH_BYTES": (plan_cuts,),
    "LEAST_PIXELS": (plan_cuts,),
    "LEAST_TASKS": (plan_cuts, plan, plan_weights),
    "FEW_PIXELS": (plan_weights,),
    "MANY_SUMS": (plan_weights,),
    "CORE_TASKS": (plan,),
    "PIXEL_WEIGHTS": (plan,),
    "FEW_WEIGHTS": (plan,),
    "ENOUGH_PIXELS": (plan,),
    "LEAST_TO_FETCH": (plan,),
    "MOST_TO_FETCH": (plan,),
    "LARGE_TARGET": (plan,),
    "WIDE_TARGET": (plan,),
    "DIRECT_SHARES": (plan_cuts,),
    "LEAST_TILES": (plan_cuts,),
    "TASK_TILES": (winograd_cost, plan_cuts),
    "MOST_TERMS": (plan_terms, plan_weights),
    "SUMS_BYTES": (plan_weights,),
    "WINOGRAD_SUMS_BYTES": (plan_weights,),
    "MOST_PARTIALS": (plan_weights,),
    "PARTIAL_BYTES": (plan_weights,),
    "MOST_TILES": (plan_at_once,),
    "TILE_PRODUCTS": (plan_at_once,),
    "LEAST_PRODUCTS": (plan_at_once,),
    "GATHERED_CHANNELS": (plan_at_once,),
    "ACCUMULATED_VECTORS": (plan_at_once,),
}
"""The constants that decide how work is cut, and the modules that read each."""


Variant = dict[str, int]
"""Constants, and the values that they are to have."""


def parse(text: str) -> Variant:
    """Return what ``NAME=VALUE,NAME=VALUE`` stands for.

    Raises
    ------
    ValueError
        If a name is not one of the constants, or a value not a positive integer.
    """
    variant = {}
    for setting in text.split(","):
        name, _, value = setting.partition("=")
        if name not in CONSTANTS:
            raise ValueError(f"a constant must be among {', '.join(CONSTANTS)}; got {name!r}")
        if not value.isdecimal() or int(value) == 0:
            raise ValueError(f"{name} takes a positive integer; got {value!r}")
        variant[name] = int(value)
    return variant


def neighbours() -> list[Variant]:
    """Return each constant halved, and doubled."""
    return [{n: v} for n, now in current(CONSTANTS).items() for v in (max(1, now // 2), 2 * now)]


def current(names: Iterable[str]) -> Variant:
    """Return constants as they are."""
    return {name: vars(CONSTANTS[name][0])[name] for name in names}


@contextmanager
def planned(variant: Variant) -> Iterator[None]:
    """Plan with some constants changed."""
    before = current(variant)
    _set(variant)
    try:
        yield
    finally:
        _set(before)


def _set(variant: Variant) -> None:
    for name, value in variant.items():
        for module in CONSTANTS[name]:
            setattr(module, name, value)
    for planner in (plan.forward_plan, plan.backward_plan, plan_weights.weight_plan):
        planner.cache_clear()
    plan_at_once.forget()
    repeating.forget()


def _seconds(function: Callable[[], object]) -> float:
    """Return the mean of a turn's fastest calls; those that plan and capture it are apart."""
    for _ in range(repeating.TIMES):
        function()
    seconds: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while len(seconds) < FASTEST or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.mean(sorted(seconds)[:FASTEST]))


def _compare(case: ConvCase, name: str, variants: Sequence[Variant]) -> None:
    function = backends.prepare(case, "numba")[name]
    rows: list[Variant] = [{}, *variants]
    times = np.empty((TURNS, len(rows)))
    for turn in times:
        for i, variant in enumerate(rows):
            with planned(variant):
                turn[i] = _seconds(function)
    ratios = np.median(times[:, :1] / times, axis=0)
    for variant, best, ratio in zip(rows, times.min(axis=0), ratios, strict=True):
        title = ",".join(f"{key}={value}" for key, value in variant.items()) or "as it is"
        print(f"{title:<40} {best * 1e3:>9.3f} ms {ratio:>6.2f} x")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.plans", description=__doc__)
    parser.add_argument("case", choices=CASES, metavar="case", help="name of a convolution's case")
    parser.add_argument("pass", choices=ConvCase.passes)
    parser.add_argument("variants", nargs="*", metavar="NAME=VALUE[,NAME=VALUE...]")
    options = vars(parser.parse_args())
    try:
        variants = list(map(parse, options["variants"])) or neighbours()
    except ValueError as error:
        parser.error(str(error))
    _compare(CASES[options["case"]], options["pass"], variants)


if __name__ == "__main__":
    main()
