"""Training a classifier: the step, the epochs around it, and the test."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

import kernels
from cnn.arrays import FloatArray, IntArray
from cnn.batches import check_labelled, mini_batches
from cnn.layers import Sequential, Softmax
from cnn.monitoring import BatchProgress, EpochMetrics, Evaluation, Observer, RunningMeans
from cnn.optim import SGD, Optimizer
from kernels import dispatch
from kernels.ops import checks


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN; the message says when."""

    def __init__(self, when: str, loss: float) -> None:
        super().__init__(f"{when}: the loss is {loss}; a lower learning rate may help")


class Trainer:
    """Trains a classifier with softmax cross-entropy on one backend.

    Parameters
    ----------
    model : Sequential
        Maps images to logits, (N, K); trained in place.
    optimizer : Optimizer, optional
        ``SGD(lr=0.01)`` if left out.
    backend : str, optional
        Whose kernels to use; those of ``kernels.get_backend()`` now if left out.
    seed : int
        Of the order in which :meth:`fit` takes the images. With the same seed, model, data and
        backend, the same bits result.

    Attributes
    ----------
    model, optimizer, backend
        As given.

    Raises
    ------
    kernels.UnknownBackendError
        If there is no such backend; the message lists those there are.
    ValueError, TypeError
        If the model ends in Softmax, which the loss holds already, or an argument is of another
        type.
    """

    def __init__(
        self,
        model: Sequential,
        *,
        optimizer: Optimizer | None = None,
        backend: str | None = None,
        seed: int = 0,
    ) -> None:
        self.backend = dispatch.chosen_name(backend)
        if not isinstance(model, Sequential):
            raise TypeError(f"model must be a cnn.Sequential, got {model!r}")
        if not isinstance(optimizer, Optimizer | None):
            raise TypeError(f"optimizer must be one of cnn.optim, got {optimizer!r}")
        if model.layers and isinstance(model.layers[-1], Softmax):
            raise ValueError("model must end in logits, but it ends in Softmax; the loss has one")
        self.model = model
        self.optimizer = SGD() if optimizer is None else optimizer
        self._order = np.random.default_rng(checks.integer("seed", seed, 0))
        self._steps = 0

    def step(self, x: FloatArray, y: IntArray) -> float:
        """Train on one mini-batch.

        Parameters
        ----------
        x : (N, C, H, W) array of float32 or float64
            Images.
        y : (N,) array of integers
            Their classes, from 0 to K - 1.

        Returns
        -------
        float
            The batch's mean loss, before the update.

        Raises
        ------
        NonFiniteLossError
            If the loss is infinite or NaN. The model is as it was before the step.
        kernels.ShapeError, TypeError
            If an argument does not fit, likewise.
        """
        x, y = check_labelled("the batch", (x, y), 1)
        loss, _ = self._step(x, y, f"step {self._steps + 1}")
        return loss

    def warm_up(self, x: FloatArray, y: IntArray) -> float:
        """Run a step on a copy of the model, so that code is compiled or loaded before it counts.

        Nothing of this trainer changes. How long it takes depends on the backend, not on the
        number of images: two are enough.

        Parameters
        ----------
        x, y
            As for :meth:`step`.

        Returns
        -------
        float
            Seconds it took.
        """
        started = perf_counter()
        Trainer(copy.deepcopy(self.model), backend=self.backend).step(x, y)
        return perf_counter() - started

    def fit(
        self,
        train: tuple[FloatArray, IntArray],
        test: tuple[FloatArray, IntArray],
        epochs: int = 3,
        batch_size: int = 32,
        *,
        observer: Observer | None = None,
    ) -> list[EpochMetrics]:
        """Train on all images, in a new order each epoch, and test after each.

        Parameters
        ----------
        train, test : (x, y)
            Images (N, C, H, W) and classes (N,), as :func:`cnn.data.load` gives them.
        epochs : int
            How often each image is seen.
        batch_size : int
            Images of a mini-batch. What is left over at the end makes a smaller one; a single
            image is joined to the batch before.
        observer : Observer, optional
            Is told of each step and epoch.

        Returns
        -------
        list of EpochMetrics
            One for each epoch.

        Raises
        ------
        NonFiniteLossError
            If a loss is infinite or NaN; the step that found it has changed nothing.
        kernels.ShapeError, TypeError
            If an argument does not fit.
        """
        epochs = checks.integer("epochs", epochs, 1)
        batch_size = checks.integer("batch_size", batch_size, 1)
        train, test = self._checked("train", train, 2), self._checked("test", test, 1)
        watcher = Observer() if observer is None else observer
        history = []
        for epoch in range(1, epochs + 1):
            means = self._train_epoch(train, batch_size, epoch, epochs, watcher)
            tested = self.evaluate(test)
            if not math.isfinite(tested["loss"]):
                raise NonFiniteLossError(f"test after epoch {epoch}", tested["loss"])
            metrics = EpochMetrics(
                epoch=epoch,
                train_loss=means.loss,
                train_accuracy=means.accuracy,
                test_loss=tested["loss"],
                test_accuracy=tested["accuracy"],
                seconds=means.seconds,
                images_per_second=means.images_per_second,
            )
            watcher.on_epoch(metrics)
            history.append(metrics)
        return history

    def evaluate(self, data: tuple[FloatArray, IntArray], batch_size: int = 256) -> Evaluation:
        """Return mean loss and accuracy in inference mode.

        Parameters
        ----------
        data : (x, y)
            Images (N, C, H, W) and classes (N,); N is 1 or more.
        batch_size : int
            Images taken at a time, which bounds the memory.

        Raises
        ------
        kernels.ShapeError, TypeError
            If an argument does not fit.
        """
        size = checks.integer("batch_size", batch_size, 1)
        x, y = self._checked("data", data, 1)
        means = RunningMeans()
        with self._computing():
            for start in range(0, len(x), size):
                labels = y[start : start + size]
                logits = self.model.forward(x[start : start + size], training=False)
                loss, _ = kernels.softmax_cross_entropy(logits, labels)
                means.add(len(labels), loss, _correct(logits, labels))
        return Evaluation(loss=means.loss, accuracy=means.accuracy)

    def _train_epoch(
        self,
        data: tuple[FloatArray, IntArray],
        batch_size: int,
        epoch: int,
        epochs: int,
        observer: Observer,
    ) -> RunningMeans:
        x, y = data
        batches = mini_batches(self._order.permutation(len(x)), batch_size)
        means = RunningMeans()
        for number, chosen in enumerate(batches, start=1):
            started = perf_counter()
            when = f"epoch {epoch}, step {number} of {len(batches)}"
            loss, correct = self._step(x[chosen], y[chosen], when)
            means.add(len(chosen), loss, correct, perf_counter() - started)
            observer.on_batch(
                BatchProgress(
                    epoch=epoch,
                    epochs=epochs,
                    batch=number,
                    batches=len(batches),
                    loss=means.loss,
                    accuracy=means.accuracy,
                    images_per_second=means.images_per_second,
                )
            )
        return means

    def _step(self, x: FloatArray, y: IntArray, when: str) -> tuple[float, int]:
        """Train on one mini-batch; return its mean loss and how many predictions were right."""
        with self._computing(), self._buffers_kept_on_error():
            logits = self.model.forward(x, training=True)
            loss, grad_logits = kernels.softmax_cross_entropy(logits, y)
            if not math.isfinite(loss):
                raise NonFiniteLossError(when, loss)
            self.model.backward(grad_logits)
            self.optimizer.step(self.model.parameters())
        self._steps += 1
        return loss, _correct(logits, y)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Use the trainer's backend; overflow shows in the loss, NumPy need not warn of it too."""
        with kernels.use_backend(self.backend), np.errstate(over="ignore", invalid="ignore"):
            yield

    @contextmanager
    def _buffers_kept_on_error(self) -> Iterator[None]:
        """Undo what a failed step did to the running statistics, so that it leaves no trace."""
        buffers = self.model.named_buffers().values()
        before = [buffer.copy() for buffer in buffers]
        try:
            yield
        except BaseException:
            for buffer, old in zip(buffers, before, strict=True):
                buffer[...] = old
            raise

    def _checked(self, name: str, data: object, least: int) -> tuple[FloatArray, IntArray]:
        """Check data against the model by running it on none of the images."""
        x, y = check_labelled(name, data, least)
        with self._computing():
            classes = self.model.forward(x[:0], training=False).shape[-1]
        checks.within(f"{name}'s y", y, classes, "the model's outputs")
        return x, y


def _correct(logits: FloatArray, labels: IntArray) -> int:
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))
