"""One call of ``Trainer.fit``: the loop, where it is, and whom it tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cnn.arrays import FloatArray, IntArray
from cnn.batches import batch_count, mini_batches
from cnn.describing import settings_of
from cnn.errors import NonFiniteLossError
from cnn.interruption import Interruption, postponed
from cnn.monitoring import BatchProgress, EpochMetrics, Evaluation, Observer, RunningMeans
from kernels.ops import checks

if TYPE_CHECKING:
    from cnn.checkpoint import Saved
    from cnn.trainer import Trainer

Labelled = tuple[FloatArray, IntArray]
Augment = Callable[[FloatArray], FloatArray]


class Fit:
    """A training run of a trainer, as :meth:`cnn.Trainer.fit` makes it and callbacks see it.

    Parameters
    ----------
    trainer : Trainer
        Whose model is trained.
    train, test, validation
        Data, ``(x, y)``; ``validation`` may be None.
    epochs, batch_size : int
        As for :meth:`cnn.Trainer.fit`, and checked here as all else.
    augment : callable or None
        Changes the images of each training batch.
    callbacks : sequence of Observer
        Are told.

    Attributes
    ----------
    trainer, train, test, validation, epochs, batch_size, augment, callbacks
        As given.
    batches : int
        Mini-batches of an epoch.
    epoch, batch : int
        The epoch that is being trained, from 1 (one more than ``epochs`` at the end), and how many
        of its batches are done.
    means : RunningMeans
        Of the epoch so far.
    history : list of EpochMetrics
        Finished epochs.
    order_state : dict
        State of the generator that drew the order of this epoch's images, before it did.
    peak : float
        The optimiser's own learning rate, which the schedule multiplies.
    stopped : bool
        Whether :meth:`stop` was called.
    """

    def __init__(
        self,
        trainer: Trainer,
        train: Labelled,
        test: Labelled,
        validation: Labelled | None,
        *,
        epochs: int,
        batch_size: int,
        augment: Augment | None,
        callbacks: Sequence[Observer],
    ) -> None:
        self.trainer = trainer
        self.epochs = checks.integer("epochs", epochs, 1)
        self.batch_size = checks.integer("batch_size", batch_size, 1)
        self.augment, self.callbacks = augment, _observers(callbacks)
        self.train = trainer._checked("train", train, 2)
        self.test = trainer._checked("test", test, 1)
        self.validation = (
            None if validation is None else trainer._checked("validation", validation, 1)
        )
        self.batches = batch_count(len(self.train[0]), self.batch_size)
        self.epoch, self.batch = 1, 0
        self.means = RunningMeans()
        self.history: list[EpochMetrics] = []
        self.order_state: Any = trainer.order.bit_generator.state
        self.peak = trainer.optimizer.lr
        self.stopped = False
        trainer.schedule.factor(0, self.steps)  # a warm-up that does not fit is found here

    @property
    def steps(self) -> int:
        """How many steps there will be in all."""
        return self.epochs * self.batches

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.stopped or self.epoch > self.epochs

    def stop(self) -> None:
        """End the training after the step or epoch that is being told of."""
        self.stopped = True

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What a run must share to continue this one, ready for JSON."""
        return settings_of(self)

    def run(self, saved: Saved | None) -> list[EpochMetrics]:
        """Train from the start, or from where a run was saved, to the end; return the history."""
        with postponed() as interruption:
            self._start(saved)
            self._save_point(interruption)
            try:
                while not self.finished:
                    self._run_epoch(interruption)
            finally:
                self.trainer.optimizer.lr = self.peak
            for callback in self.callbacks:
                callback.on_end()
        return self.history

    def _start(self, saved: Saved | None) -> None:
        if saved is not None:
            saved.restore_training(self)
        for callback in self.callbacks:
            callback.on_start(self)
        if saved is not None:
            saved.restore_callbacks(self)

    def _run_epoch(self, interruption: Interruption) -> None:
        x, y = self.train
        self.trainer.order.bit_generator.state = self.order_state
        order = self.trainer.order.permutation(len(x))
        for chosen in mini_batches(order, self.batch_size)[self.batch :]:
            step = (self.epoch - 1) * self.batches + self.batch
            factor = self.trainer.schedule.factor(step, self.steps)
            self.trainer.optimizer.lr = self.peak * factor
            self._train_on(x, y, chosen)
            self._save_point(interruption)
            if self.stopped:
                return
        self._finish_epoch()
        self._save_point(interruption)

    def _train_on(self, x: FloatArray, y: IntArray, chosen: IntArray) -> None:
        started = perf_counter()
        images = x[chosen] if self.augment is None else self.augment(x[chosen])
        when = f"epoch {self.epoch}, step {self.batch + 1} of {self.batches}"
        loss, correct = self.trainer._step(images, y[chosen], when)
        self.batch += 1
        self.means.add(len(chosen), loss, correct, perf_counter() - started)
        progress = BatchProgress(
            epoch=self.epoch,
            epochs=self.epochs,
            batch=self.batch,
            batches=self.batches,
            loss=self.means.loss,
            accuracy=self.means.accuracy,
            images_per_second=self.means.images_per_second,
        )
        for callback in self.callbacks:
            callback.on_batch(progress)

    def _finish_epoch(self) -> None:
        tested = self._evaluated("test", self.test)
        metrics = EpochMetrics(
            epoch=self.epoch,
            train_loss=self.means.loss,
            train_accuracy=self.means.accuracy,
            test_loss=tested["loss"],
            test_accuracy=tested["accuracy"],
            seconds=self.means.seconds,
            images_per_second=self.means.images_per_second,
        )
        if self.validation is not None:
            validated = self._evaluated("validation", self.validation)
            metrics["validation_loss"] = validated["loss"]
            metrics["validation_accuracy"] = validated["accuracy"]
        self.history.append(metrics)
        self.epoch, self.batch, self.means = self.epoch + 1, 0, RunningMeans()
        self.order_state = self.trainer.order.bit_generator.state
        for callback in self.callbacks:
            callback.on_epoch(metrics)

    def _evaluated(self, what: str, data: Labelled) -> Evaluation:
        figures = self.trainer.evaluate(data)
        if not math.isfinite(figures["loss"]):
            raise NonFiniteLossError(f"{what} after epoch {self.epoch}", figures["loss"])
        return figures

    def _save_point(self, interruption: Interruption) -> None:
        for callback in self.callbacks:
            callback.on_save_point()
        if interruption.requested:
            for callback in self.callbacks:
                callback.on_interrupt()
            raise KeyboardInterrupt


def _observers(callbacks: Sequence[Observer]) -> tuple[Observer, ...]:
    observers = tuple(callbacks)
    for callback in observers:
        if not isinstance(callback, Observer):
            raise TypeError(f"callbacks must be of cnn.Observer, got {callback!r}")
    return observers
