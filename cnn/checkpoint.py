"""Saving a training run in the midst of it, and continuing from there bit for bit.

A checkpoint is one safetensors file. Its arrays are those of the model (``model.<name>``), of the
optimiser (``optimizer.<slot>.<name>``) and of the callbacks (``callback.<class>.<name>``); its
metadata, JSON, hold the position, the metrics so far, the states of all random generators, and the
settings that a run must share to continue it. Nothing in it depends on the backend.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn import storage
from cnn.arrays import AnyArray
from cnn.describing import first_difference
from cnn.monitoring import Observer, RunningMeans

if TYPE_CHECKING:
    from cnn.fitting import Fit


class CheckpointError(storage.StorageError):
    """A checkpoint cannot be read, is damaged or of another run; the message names it."""

    what = "checkpoint"


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that has been read and fits the run that is to continue.

    Attributes
    ----------
    path : str
        The file, for messages.
    arrays, about
        Its contents.
    """

    path: str
    arrays: dict[str, AnyArray]
    about: dict[str, Any]

    def restore_training(self, fit: Fit) -> None:
        """Put the saved state into the model, the optimiser, the generators and the position."""
        trainer, position = fit.trainer, self.about["position"]
        with _explained(self.path):
            named = trainer.model.named_parameters()
            trainer.optimizer.load_state_dict(named, _below(self.arrays, "optimizer."))
            trainer.model.load_state_dict(_below(self.arrays, "model."))
            for name, generator in _generators(fit).items():
                generator.bit_generator.state = self.about["generators"][name]
            fit.order_state = self.about["generators"]["order"]
            fit.epoch, fit.batch = position["epoch"], position["batch"]
            fit.means = RunningMeans(**position["means"])
            fit.stopped = position["stopped"]
            fit.history[:] = self.about["history"]

    def restore_callbacks(self, fit: Fit) -> None:
        """Put the saved states into the callbacks, which know of the fit already."""
        named = _named(fit.callbacks)
        known = {name.split(".")[1] for name in self.arrays if name.startswith("callback.")}
        if missing := sorted(known - named.keys()):
            raise CheckpointError(
                f"{self.path}: of a run with other settings (callbacks had {', '.join(missing)})"
            )
        with _explained(self.path):
            for name, callback in named.items():
                callback.load_state_dict(_below(self.arrays, f"callback.{name}."))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Say of which file it is that something does not fit."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error})") from error


def write(fit: Fit, path: str | os.PathLike[str]) -> None:
    """Save a run, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; an old one is still there then.
    """
    trainer = fit.trainer
    named = trainer.model.named_parameters()
    arrays = _prefixed("model.", trainer.model.state_dict())
    arrays |= _prefixed("optimizer.", trainer.optimizer.state_dict(named))
    for name, callback in _named(fit.callbacks).items():
        arrays |= _prefixed(f"callback.{name}.", callback.state_dict())
    about = {
        "settings": fit.settings,
        "position": {
            "epoch": fit.epoch,
            "batch": fit.batch,
            "means": asdict(fit.means),
            "stopped": fit.stopped,
        },
        "generators": {
            name: generator.bit_generator.state for name, generator in _generators(fit).items()
        }
        | {"order": fit.order_state},
        "history": fit.history,
    }
    storage.write(path, arrays, about, durable=True)


def read(fit: Fit, path: str | os.PathLike[str]) -> Saved | None:
    """Read a checkpoint that ``fit`` is to continue from; None if there is none at that path.

    Raises
    ------
    CheckpointError
        If it is damaged or of a run with another network, other data or other settings. Nothing
        has been changed then.
    """
    name = os.fspath(path)
    if not Path(name).exists():
        return None
    arrays, about = storage.read(name, CheckpointError)
    if missing := sorted({"settings", "position", "generators", "history"} - about.keys()):
        raise CheckpointError(f"{name}: not a checkpoint (metadata has no {missing[0]!r})")
    difference = first_difference(about["settings"], fit.settings)
    if difference is not None:
        what = "another network" if difference.startswith("model ") else "a run with other settings"
        raise CheckpointError(f"{name}: of {what} ({difference})")
    return Saved(name, arrays, about)


def _generators(fit: Fit) -> dict[str, np.random.Generator]:
    """All sources of randomness that the rest of a run draws from, by name."""
    named = {"order": fit.trainer.order}
    named |= _prefixed("model.", fit.trainer.model.named_generators())
    of_augment: dict[str, np.random.Generator] = getattr(fit.augment, "named_generators", dict)()
    return named | _prefixed("augment.", of_augment)


def _named(callbacks: tuple[Observer, ...]) -> dict[str, Observer]:
    """Callbacks by class; further ones of the same class have a number."""
    named: dict[str, Observer] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        same = sum(type(other).__name__ == kind for other in named.values())
        named[f"{kind}-{same + 1}" if same else kind] = callback
    return named


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


def _below(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }
