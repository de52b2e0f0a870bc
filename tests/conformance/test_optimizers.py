"""Optimisers, schedules and clipping beside PyTorch's, step by step for 100 steps in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import cnn
from cnn import optim

STEPS, LR = 100, 0.05
LIMIT = 1e-13
"""Largest difference allowed: values are around 1, so this is some 450 roundings in 100 steps."""

SHAPES = [(4, 3, 3, 3), (4,), (5, 36), (5,)]

OPTIMIZERS: dict[str, tuple[Callable[[], optim.Optimizer], Callable[..., Any]]] = {
    "sgd": (lambda: optim.SGD(LR), lambda p: torch.optim.SGD(p, LR)),
    "sgd, weight decay": (
        lambda: optim.SGD(LR, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, LR, weight_decay=0.1),
    ),
    "momentum": (
        lambda: optim.SGD(LR, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, LR, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        lambda: optim.SGD(LR, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda p: torch.optim.SGD(p, LR, momentum=0.9, weight_decay=0.01, nesterov=True),
    ),
    "adam": (lambda: optim.Adam(LR), lambda p: torch.optim.Adam(p, LR)),
    "adam, weight decay": (
        lambda: optim.Adam(LR, (0.8, 0.95), 1e-6, 0.1),
        lambda p: torch.optim.Adam(p, LR, (0.8, 0.95), 1e-6, 0.1),
    ),
    "adamw": (
        lambda: optim.AdamW(LR, weight_decay=0.1),
        lambda p: torch.optim.AdamW(
            [
                {"params": [one for one in p if one.ndim > 1]},
                {"params": [one for one in p if one.ndim == 1], "weight_decay": 0.0},
            ],
            LR,
            weight_decay=0.1,
        ),
    ),
}


def warmed(after: Any, warmup: int) -> Callable[[Any], Any]:
    """PyTorch's linear warm-up before a schedule."""

    def make(optimizer: Any) -> Any:
        schedulers = torch.optim.lr_scheduler
        first = schedulers.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
        return schedulers.SequentialLR(optimizer, [first, after(optimizer)], [warmup])

    return make


SCHEDULES: dict[str, tuple[optim.Schedule, Callable[[Any], Any]]] = {
    "constant": (optim.Constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
    "step": (optim.Step(30, 0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.3)),
    "cosine": (
        optim.Cosine(0.02),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, 0.02 * LR),
    ),
    "one-cycle": (
        optim.OneCycle(),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, LR, STEPS, cycle_momentum=False),
    ),
    "one-cycle, other shape": (
        optim.OneCycle(0.45, 0.1, 0.01),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o,
            LR,
            STEPS,
            pct_start=0.45,
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        ),
    ),
    "constant, warm-up": (
        optim.Constant(warmup=10),
        warmed(lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0), 10),
    ),
    "step, warm-up": (
        optim.Step(25, warmup=7),
        warmed(lambda o: torch.optim.lr_scheduler.StepLR(o, 25), 7),
    ),
    "cosine, warm-up": (
        optim.Cosine(warmup=20),
        warmed(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS - 20), 20),
    ),
}


def gradients(seed: int) -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        yield [rng.standard_normal(shape) for shape in SHAPES]


def pair() -> tuple[list[cnn.Parameter], list[Any]]:
    """The same parameters here and in PyTorch."""
    values = [np.random.default_rng(1).standard_normal(shape) for shape in SHAPES]
    ours = [cnn.Parameter(value.copy()) for value in values]
    return ours, [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in values]


def give(ours: list[cnn.Parameter], theirs: list[Any], grads: list[np.ndarray]) -> None:
    for one, other, grad in zip(ours, theirs, grads, strict=True):
        one.grad, other.grad = grad.copy(), torch.from_numpy(grad.copy())


def difference(ours: list[cnn.Parameter], theirs: list[Any]) -> float:
    return max(
        float(abs(one.data - other.detach().numpy()).max())
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parameters_after_each_step(
    optimizer: str, schedule: str, record_property: Callable[[str, object], None]
) -> None:
    (make_ours, make_theirs), (factors, make_scheduler) = OPTIMIZERS[optimizer], SCHEDULES[schedule]
    ours, theirs = pair()
    chosen, peer = make_ours(), make_theirs(theirs)
    scheduler, largest = make_scheduler(peer), 0.0
    for step, grads in enumerate(gradients(seed=0)):
        chosen.lr = LR * factors.factor(step, STEPS)
        assert chosen.lr == pytest.approx(peer.param_groups[0]["lr"], rel=1e-12)
        give(ours, theirs, grads)
        chosen.step(ours)
        peer.step()
        scheduler.step()
        largest = max(largest, difference(ours, theirs))
    record_property("largest_difference", largest)
    print(f"{optimizer}; {schedule}: largest difference in {STEPS} steps {largest:.1e}")
    assert largest <= LIMIT


@pytest.mark.parametrize("limit", [0.5, 5.0, 13.0, 1000.0])
def test_clipping(limit: float) -> None:
    ours, theirs = pair()
    for grads in gradients(seed=2):
        give(ours, theirs, grads)
        norm = optim.clip_grad_norm(ours, limit)
        expected = torch.nn.utils.clip_grad_norm_(theirs, limit)
        assert norm == pytest.approx(float(expected), rel=1e-14)
        for one, other in zip(ours, theirs, strict=True):
            assert one.grad == pytest.approx(other.grad.numpy(), rel=1e-13, abs=0)
