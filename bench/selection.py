"""Which cases and passes a run takes, and which of them a contestant can do."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from bench import cases, contestants
from bench.case_types import FORWARD, PASSES, TRAINING_STEP, Case
from bench.turns import Item

QUICK, FULL = "quick", "full"

_CASES: dict[str, Case] = {
    case.id: case
    for table in (*cases.SUITES.values(), cases.GROWING_BATCHES, cases.GROWING_IMAGES)
    for case in table
}


GROWING: tuple[Item, ...] = (
    *((case.id, TRAINING_STEP) for case in cases.GROWING_BATCHES),
    *((case.id, FORWARD) for case in cases.GROWING_IMAGES),
)
"""What is timed for the growth with batch and image size, and shown only as that."""


class SelectionError(ValueError):
    """Nothing there is of that name."""


def case(case_id: str) -> Case:
    """Return the case of that id."""
    return _CASES[case_id]


def exists(case_id: str) -> bool:
    """Tell whether there is a case of that id."""
    return case_id in _CASES


def items(
    suite: str = QUICK, patterns: Sequence[str] = (), passes: Sequence[str] = ()
) -> list[Item]:
    """Return (case, pass) of a suite, kept to ids that match a pattern and to named passes.

    Raises
    ------
    SelectionError
        If the suite is unknown, or nothing is left.
    """
    names = {QUICK: cases.QUICK, FULL: [c.id for table in cases.SUITES.values() for c in table]}
    names |= {name: [c.id for c in table] for name, table in cases.SUITES.items()}
    if suite not in names:
        raise SelectionError(f"suite must be one of {', '.join(names)}; got {suite!r}")
    for pass_name in passes:
        if pass_name not in PASSES:
            raise SelectionError(f"pass must be one of {', '.join(PASSES)}; got {pass_name!r}")
    chosen = [
        (case_id, pass_name)
        for case_id in names[suite]
        for pass_name in case(case_id).passes
        if (not patterns or any(fnmatchcase(case_id, pattern) for pattern in patterns))
        and (not passes or pass_name in passes)
    ]
    if not chosen:
        raise SelectionError(
            f"no case of suite {suite} has an id like {' or '.join(patterns) or '*'} and a pass "
            f"{' or '.join(passes) or '*'}; `python -m bench list` shows what there is"
        )
    return chosen


def taken_by(contestant: str, chosen: Sequence[Item]) -> list[Item]:
    """Return those that a contestant can do; growth is for those that do everything."""
    return [
        item
        for item in chosen
        if contestants.takes(contestant, case(item[0]), item[1])
        and (contestant in contestants.EAGER or item not in GROWING)
    ]
