"""Training runs that are broken off and continued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.callbacks import Checkpoint
from tests.cnn.toys import small_net, stripes


class Halt(Exception):  # noqa: N818  (it is no error)
    """Raised to break a training off."""


class HaltAt(cnn.Observer):
    """Breaks the training off after so many steps, or in the test that follows an epoch."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_batch(self, progress: cnn.BatchProgress) -> None:
        self.left -= 1
        if self.left == 0:
            raise Halt


class Noise:
    """An augmentation with a generator of its own."""

    def __init__(self, seed: int = 3) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x + 0.1 * self.rng.standard_normal(x.shape)

    def named_generators(self) -> dict[str, np.random.Generator]:
        return {"rng": self.rng}


def noisy_net(dtype: str = "float64") -> cnn.Sequential:
    layers = small_net(dtype=dtype).layers
    return cnn.Sequential(*layers[:-1], cnn.Dropout(0.3, rng=9), layers[-1])


def same_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def timeless(history: list[cnn.EpochMetrics]) -> list[dict[str, Any]]:
    """The history without what a clock says."""
    clocks = {"seconds", "images_per_second"}
    return [{k: v for k, v in metrics.items() if k not in clocks} for metrics in history]


class Run:
    """A training with all that has a state, which can be broken off and continued."""

    def __init__(
        self,
        path: Path,
        *,
        model: Callable[[], cnn.Sequential] = noisy_net,
        optimizer: Callable[[], cnn.optim.Optimizer] = lambda: cnn.optim.SGD(0.05, momentum=0.9),
        every_steps: int = 1,
        callbacks: Callable[[], list[cnn.Observer]] = list,
        backend: str = "numpy",
        **arguments: Any,
    ) -> None:
        self.path, self.backend, self.every_steps = path, backend, every_steps
        self.model, self.optimizer, self.callbacks = model, optimizer, callbacks
        trainer = {"schedule", "clip_norm", "seed", "fuse"} & arguments.keys()
        self.of_trainer = {name: arguments.pop(name) for name in trainer}
        self.of_fit = {"epochs": 3, "batch_size": 4, "validation": stripes(6, 2)} | arguments
        self.augment: Callable[[], Any] = self.of_fit.pop("augment", Noise)

    def __call__(self, halt: int = 0, resume: bool = False) -> tuple[cnn.Trainer, list[Any]]:
        trainer = cnn.Trainer(
            self.model(), optimizer=self.optimizer(), backend=self.backend, **self.of_trainer
        )
        history = trainer.fit(
            stripes(15),
            stripes(5, 1),
            callbacks=[
                *self.callbacks(),
                HaltAt(halt),
                Checkpoint(self.path, every_seconds=None, every_steps=self.every_steps),
            ],
            augment=self.augment(),
            resume_from=self.path if resume else None,
            **self.of_fit,
        )
        return trainer, history

    def broken_off(self, *halts: int) -> tuple[cnn.Trainer, list[Any]]:
        """Break off after so many steps, continue, and so on; then continue to the end."""
        for turn, steps in enumerate(halts):
            try:
                self(halt=steps, resume=turn > 0)
            except Halt:
                continue
            raise AssertionError("the training was over before it could be broken off")
        return self(resume=True)


def assert_same(one: tuple[cnn.Trainer, list[Any]], other: tuple[cnn.Trainer, list[Any]]) -> None:
    (first, history), (second, again) = one, other
    assert timeless(history) == timeless(again)
    assert same_arrays(first.model.state_dict(), second.model.state_dict())
    named, others = first.model.named_parameters(), second.model.named_parameters()
    assert same_arrays(first.optimizer.state_dict(named), second.optimizer.state_dict(others))
    assert first.order.bit_generator.state == second.order.bit_generator.state
    generators = second.model.named_generators()
    for name, generator in first.model.named_generators().items():
        assert generator.bit_generator.state == generators[name].bit_generator.state
