"""What a trainer reports while it works, and what it returns at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from cnn.arrays import AnyArray

if TYPE_CHECKING:
    from cnn.fitting import Fit


class Evaluation(TypedDict):
    """Mean loss and share of right predictions."""

    loss: float
    accuracy: float


class ValidationMetrics(TypedDict, total=False):
    """What an epoch has more where there are validation data."""

    validation_loss: float
    validation_accuracy: float


class EpochMetrics(ValidationMetrics):
    """One epoch. Training figures are running means over its mini-batches, weighted by size.

    ``seconds`` is the time of the training steps alone, without the test and the observer.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far an epoch has come, after a training step.

    Attributes
    ----------
    epoch, epochs, batch, batches : int
        Both counted from 1, and how many there will be.
    loss, accuracy : float
        Means over the epoch so far.
    images_per_second : float
        Likewise.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images_per_second: float


class Observer:
    """Is told what :meth:`cnn.Trainer.fit` does. Override what you want to hear of.

    The methods are called in the order of the list of callbacks. An exception raised in one ends
    the training. What an observer remembers between epochs and what the training depends on
    belongs into :meth:`state_dict`, so that checkpoints have it.
    """

    def on_start(self, fit: Fit) -> None:
        """Before the first step, and before the first one after a resume.

        Parameters
        ----------
        fit : Fit
            The training: its ``trainer`` (with the ``model``), its ``history``, and
            ``fit.stop()``, which ends it after the step or epoch that is being told of.
        """

    def on_batch(self, progress: BatchProgress) -> None:
        """After each training step."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """After each epoch, its test included."""

    def on_save_point(self) -> None:
        """After the start, each step and each epoch, when all observers have been told of it.

        What the training holds at this moment can be saved and continued.
        """

    def on_interrupt(self) -> None:
        """At a save point, when Ctrl-C is about to end the training."""

    def on_end(self) -> None:
        """After the last epoch and its save point. Not after an error or Ctrl-C.

        What happens here is no part of a checkpoint: it happens again when a finished training is
        resumed.
        """

    def state_dict(self) -> dict[str, AnyArray]:
        """Return what has to be saved to continue, as named arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned; called after :meth:`on_start`.

        Raises
        ------
        ValueError
            If it cannot be continued from that.
        """


@dataclass(slots=True)
class RunningMeans:
    """Sums over mini-batches, read as means."""

    images: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0

    def add(self, images: int, mean_loss: float, correct: int, seconds: float = 0.0) -> None:
        """Count one mini-batch."""
        self.images += images
        self.loss_sum += images * mean_loss
        self.correct += correct
        self.seconds += seconds

    @property
    def loss(self) -> float:
        """Mean loss of an image."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """Share of images predicted right."""
        return self.correct / self.images

    @property
    def images_per_second(self) -> float:
        """Images by the time they took."""
        return self.images / self.seconds
