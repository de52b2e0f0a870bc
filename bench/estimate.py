"""How long the full suite takes, from the speeds of a quick run."""

from __future__ import annotations

import statistics
from dataclasses import replace

from bench import contestants, running, selection
from bench.case_types import Case
from bench.results import Run
from bench.suites.pace import TURN_SECONDS, WARM_UP_SECONDS
from bench.turns import REST_SECONDS, rounds_of

CALLS_OUTSIDE_TURNS = 6
"""Of a function: the check, finding how many calls fill a turn, drawing its inputs."""


def full_seconds(run: Run, plan: running.Plan) -> float:
    """Return about how many seconds `make bench-full` takes with the plan's contestants."""
    full = running.Plan(
        suite=selection.FULL,
        items=selection.items(selection.FULL),
        names=plan.names,
        threads=plan.threads,
        generations=running.GENERATIONS[selection.FULL],
    )
    turns = sum(
        _seconds(run, entrant.name, selection.case(item[0]), item[1], full.rounds)
        for generation in range(full.generations)
        for entrant, items in full.entrants(generation).items()
        for item in items
    )
    made = replace(plan, generations=run.rounds // plan.rounds)
    return turns + run.duration_seconds - _turn_seconds(run, made)


def _turn_seconds(run: Run, plan: running.Plan) -> float:
    return sum(
        _seconds(run, entrant.name, selection.case(item[0]), item[1], plan.rounds)
        for generation in range(plan.generations)
        for entrant, items in plan.entrants(generation).items()
        for item in items
    )


def _seconds(run: Run, name: str, case: Case, pass_name: str, rounds: int) -> float:
    """Return the seconds that a contestant spends on an item in a generation."""
    call = _call_seconds(run, name, case, pass_name)
    turn = max(TURN_SECONDS, call) + max(WARM_UP_SECONDS, call) + REST_SECONDS
    if name == contestants.OURS and case.flops(pass_name) > 0:
        turn += TURN_SECONDS  # of multiply-adds alone
    return rounds_of(name, rounds) * turn + CALLS_OUTSIDE_TURNS * call


def _call_seconds(run: Run, name: str, case: Case, pass_name: str) -> float:
    """Return the time of a call at the contestant's median speed on work of its kind."""
    computes = case.flops(pass_name) > 0
    rows = [r for r in run.rows if r.contestant == name and (r.flops > 0) == computes]
    if not rows:
        return 0.0
    if computes:
        return case.flops(pass_name) / statistics.median(row.gflops for row in rows) / 1e9
    return case.bytes(pass_name) / statistics.median(row.gigabytes for row in rows) / 1e9
