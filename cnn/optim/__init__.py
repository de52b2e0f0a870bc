"""Optimisers, schedules of the learning rate, and gradient clipping.

They compute what PyTorch's of the same names compute. ``cnn.Trainer(model, optimizer=SGD(lr=0.1,
momentum=0.9), schedule=Cosine(warmup=100), clip_norm=1.0)`` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnn.optim.adam import Adam, AdamW
from cnn.optim.base import Optimizer
from cnn.optim.clipping import clip_grad_norm
from cnn.optim.schedules import SCHEDULES, Constant, Cosine, OneCycle, Schedule, Step
from cnn.optim.sgd import SGD
from cnn.registry import lookup

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Schedule",
    "Step",
    "clip_grad_norm",
    "create",
    "create_schedule",
]


def create(name: str, **kwargs: Any) -> Optimizer:
    """Make the optimiser of that name with its class's arguments.

    Raises
    ------
    ValueError, TypeError
        If there is no such optimiser (the message lists those there are) or an argument does not
        fit.
    """
    return lookup("optimizer", OPTIMIZERS, name)(**kwargs)


def create_schedule(name: str, **kwargs: Any) -> Schedule:
    """Make the schedule of that name with its class's arguments.

    Raises
    ------
    ValueError, TypeError
        If there is no such schedule (the message lists those there are) or an argument does not
        fit.
    """
    return lookup("schedule", SCHEDULES, name)(**kwargs)
