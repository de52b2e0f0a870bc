"""What a trainer reports while it works, and what it returns at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


class Evaluation(TypedDict):
    """Mean loss and share of right predictions."""

    loss: float
    accuracy: float


class EpochMetrics(TypedDict):
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
    """Is told what :meth:`cnn.Trainer.fit` does. Override what you want to hear of."""

    def on_batch(self, progress: BatchProgress) -> None:
        """After each training step."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """After each epoch, its test included."""


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
