"""Schedules, by literal; tests/conformance has them beside PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest

import kernels
from cnn import optim


def factors(schedule: optim.Schedule, total: int) -> list[float]:
    return [schedule.factor(step, total) for step in range(total)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (optim.Constant(), [1, 1, 1, 1]),
        (optim.Constant(warmup=3), [0.25, 0.5, 0.75, 1, 1]),
        (optim.Step(2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25]),
        (optim.Step(1, gamma=0.5, warmup=1), [0.5, 1, 0.5, 0.25]),
        (optim.Cosine(), [1, 0.75, 0.25]),
        (optim.Cosine(floor=0.5), [1, 0.75]),
        (optim.Cosine(warmup=1), [0.5, 1, 0.5]),
        (optim.OneCycle(rising=0.5, start=0.2, end=0.5), [0.2, 0.6, 1, 0.775, 0.325, 0.1]),
        (optim.OneCycle(rising=0, start=0.2, end=0.5), [1, 0.55, 0.1]),
        (optim.OneCycle(), [1]),
    ],
)
def test_by_literal(schedule: optim.Schedule, expected: list[float]) -> None:
    assert factors(schedule, len(expected)) == pytest.approx(expected)


def test_a_warmup_leaves_a_step() -> None:
    with pytest.raises(kernels.ShapeError, match="shorter than the training of 3 steps, got 3"):
        optim.Cosine(warmup=3).factor(0, 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.Constant(warmup=-1), ValueError, "warmup must be 0 or more, got -1"),
        (lambda: optim.Constant(warmup=0.5), TypeError, "warmup must be an integer, got 0.5"),
        (lambda: optim.Step(0), ValueError, "size must be 1 or more, got 0"),
        (lambda: optim.Step(1, 0), ValueError, "gamma must be finite and above 0, got 0"),
        (lambda: optim.Cosine(1), ValueError, "floor must be from 0 to below 1, got 1"),
        (lambda: optim.OneCycle(rising=1.5), ValueError, "rising must be from 0 to below 1"),
        (lambda: optim.OneCycle(start=0), ValueError, "start must be finite and above 0, got 0"),
        (lambda: optim.OneCycle(end="x"), TypeError, "end must be a number, got 'x'"),
    ],
)
def test_refused_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_descriptions() -> None:
    assert optim.SCHEDULES["step"](5).describe() == {
        "name": "Step",
        "size": 5,
        "gamma": 0.1,
        "warmup": 0,
    }
    assert not optim.Step(5).needs_total
    assert optim.Cosine().needs_total
