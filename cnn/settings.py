"""What ``python -m cnn train`` can be told, and how it says that something cannot be used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cnn import optim
from cnn.callbacks import Checkpoint
from kernels.ops import checks


class SettingError(ValueError):
    """A setting cannot be used; the message starts with its option's name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of ``python -m cnn train``; None is "whatever suits the rest"."""

    backend: str | None = None
    dataset: str = "mnist-subset"
    normalize: bool = False
    shift: float = 0.0
    rotation: float = 0.0
    validation: float = 0.0
    model: str = "mnist_cnn"
    epochs: int = 3
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float | None = None
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | None = None
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    early_stopping: int | None = None
    seed: int = 0
    threads: int | None = None
    fuse: bool | None = None
    out: str = "runs/latest"
    resume: bool = False
    checkpoint_every: str = "60s"
    log: tuple[str, ...] = ()


@contextmanager
def option(name: str) -> Iterator[None]:
    """Name the option in what goes wrong with its value."""
    try:
        yield
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        raise SettingError(f"{name}: {error}") from error


def count(name: str, value: int, least: int) -> int:
    """Check an integer option with a lower limit."""
    try:
        return checks.integer(name, value, least)
    except (ValueError, TypeError) as error:
        raise SettingError(str(error)) from error


def optimizer_of(settings: Settings) -> optim.Optimizer:
    """Make the optimiser that the settings ask for."""
    with option("--optimizer, --lr, --momentum, --nesterov, --weight-decay"):
        asked: dict[str, Any] = {"momentum": settings.momentum, "nesterov": settings.nesterov}
        arguments = {name: value for name, value in asked.items() if value}
        if arguments and settings.optimizer in optim.OPTIMIZERS and settings.optimizer != "sgd":
            raise ValueError(f"{' and '.join(arguments)} fit sgd, not {settings.optimizer}")
        for name in ("lr", "weight_decay"):
            if getattr(settings, name) is not None:
                arguments[name] = getattr(settings, name)
        return optim.create(settings.optimizer, **arguments)


def schedule_of(settings: Settings, steps: int) -> optim.Schedule:
    """Make the schedule that the settings ask for, for a training of so many steps."""
    with option("--schedule, --warmup"):
        arguments: dict[str, Any] = {"warmup": settings.warmup}
        if settings.schedule == "step":
            arguments["size"] = math.ceil(steps / 3)
        schedule = optim.create_schedule(settings.schedule, **arguments)
        schedule.factor(0, steps)
        return schedule


def how_often(text: str) -> dict[str, Any]:
    """Return the arguments of a Checkpoint for ``"60s"`` (seconds) or ``"500"`` (steps)."""
    with option("--checkpoint-every"):
        seconds = text.endswith("s")
        try:
            number = float(text[:-1]) if seconds else int(text)
        except ValueError:
            raise ValueError(f"must be as in 60s (seconds) or 500 (steps), got {text!r}") from None
        chosen: dict[str, Any] = {"every_seconds": number if seconds else None}
        if not seconds:
            chosen["every_steps"] = number
        Checkpoint("", **chosen)  # checks the number
        return chosen
