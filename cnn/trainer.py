"""Training a classifier: the step, the epochs around it, and the test."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

import kernels
from cnn import checkpoint
from cnn.arrays import FloatArray, IntArray
from cnn.batches import check_labelled, count_correct
from cnn.errors import NonFiniteLossError
from cnn.fitting import Augment, Fit
from cnn.fusion.programs import Programs
from cnn.layers import Sequential, Softmax
from cnn.layers.container import fuses
from cnn.monitoring import EpochMetrics, Evaluation, Observer, RunningMeans
from cnn.optim import SGD, Constant, Optimizer, Schedule, clip_grad_norm
from cnn.optim.base import positive
from cnn.rollback import RolledBack
from kernels import dispatch
from kernels.ops import checks


class Trainer:
    """Trains a classifier with softmax cross-entropy on one backend.

    Parameters
    ----------
    model : Sequential
        Maps images to logits, (N, K); trained in place.
    optimizer : Optimizer, optional
        ``SGD(lr=0.01)`` if left out.
    schedule : Schedule, optional
        How :meth:`fit` changes the optimiser's learning rate from step to step; constant if left
        out. :meth:`step` alone takes the rate as it is.
    clip_norm : float, optional
        Gradients of a larger norm are scaled down to it (:func:`cnn.optim.clip_grad_norm`).
    backend : str, optional
        Whose kernels to use; those of ``kernels.get_backend()`` now if left out.
    seed : int
        Of the order in which :meth:`fit` takes the images. With the same seed, model, data,
        backend and ``fuse``, the same bits result.
    fuse : bool, optional
        Let layers compute together what they can: see :mod:`cnn.fusion`. Arrays are then reused
        from step to step, the parameters' ``grad`` too; results differ by rounding errors. True: if
        the backend has fused operations. False: never. If left out: if the backend gains by it.

    Attributes
    ----------
    model, optimizer, schedule, clip_norm, backend, seed, fuse
        As given.
    order : numpy.random.Generator
        Draws the order of the images.

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
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        backend: str | None = None,
        seed: int = 0,
        fuse: bool | None = None,
    ) -> None:
        self.backend = dispatch.chosen_name(backend)
        if not isinstance(model, Sequential):
            raise TypeError(f"model must be a cnn.Sequential, got {model!r}")
        if not isinstance(optimizer, Optimizer | None):
            raise TypeError(f"optimizer must be one of cnn.optim, got {optimizer!r}")
        if not isinstance(schedule, Schedule | None):
            raise TypeError(f"schedule must be one of cnn.optim, got {schedule!r}")
        if model.layers and isinstance(model.layers[-1], Softmax):
            raise ValueError("model must end in logits, but it ends in Softmax; the loss has one")
        self.model = model
        self.optimizer = SGD() if optimizer is None else optimizer
        self.schedule = Constant() if schedule is None else schedule
        self.clip_norm = None if clip_norm is None else positive("clip_norm", clip_norm)
        self.seed = checks.integer("seed", seed, 0)
        self.order = np.random.default_rng(self.seed)
        self.fuse = None if fuse is None else bool(fuse)
        self._programs = Programs(model, training=True)
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
        Trainer(copy.deepcopy(self.model), backend=self.backend, fuse=self.fuse).step(x, y)
        return perf_counter() - started

    def fit(
        self,
        train: tuple[FloatArray, IntArray],
        test: tuple[FloatArray, IntArray],
        epochs: int = 3,
        batch_size: int = 32,
        *,
        validation: tuple[FloatArray, IntArray] | None = None,
        augment: Augment | None = None,
        callbacks: Sequence[Observer] = (),
        resume_from: str | os.PathLike[str] | None = None,
    ) -> list[EpochMetrics]:
        """Train on all images, in a new order each epoch, and test after each.

        Ctrl-C ends the training after the step that is being computed: the model is whole, and a
        :class:`cnn.callbacks.Checkpoint` among the callbacks has saved it. A second Ctrl-C ends it
        at once.

        Parameters
        ----------
        train, test : (x, y)
            Images (N, C, H, W) and classes (N,), as :func:`cnn.data.load` gives them.
        epochs : int
            How often each image is seen.
        batch_size : int
            Images of a mini-batch. What is left over at the end makes a smaller one; a single
            image is joined to the batch before.
        validation : (x, y), optional
            Images to select by: early stopping and the best model look at these, never at the
            test's.
        augment : callable, optional
            Takes the images of a training batch and returns changed ones, as
            :class:`cnn.data.Augmentation` does.
        callbacks : sequence of Observer
            Are told of each step and epoch.
        resume_from : str or os.PathLike, optional
            A file of :class:`cnn.callbacks.Checkpoint`. If it is there, training continues from
            it, as if it had never stopped: the same bits result. If it is not, training starts.

        Returns
        -------
        list of EpochMetrics
            One for each epoch, those before a resume included.

        Raises
        ------
        NonFiniteLossError
            If a loss is infinite or NaN; the step that found it has changed nothing.
        CheckpointError
            If the checkpoint is damaged or of a run with another network, other data or other
            settings.
        kernels.ShapeError, TypeError
            If an argument does not fit.
        """
        fit = Fit(
            self,
            train,
            test,
            validation,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            callbacks=callbacks,
        )
        return fit.run(None if resume_from is None else checkpoint.read(fit, resume_from))

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
        parts = [slice(start, start + size) for start in range(0, len(x), size)]
        with self._computing():
            outputs = self.model.outputs((x[part] for part in parts), fuse=self.fuse)
            for labels, logits in zip((y[part] for part in parts), outputs, strict=True):
                loss, _ = kernels.softmax_cross_entropy(logits, labels)
                means.add(len(labels), loss, count_correct(logits, labels))
        return Evaluation(loss=means.loss, accuracy=means.accuracy)

    def _step(self, x: FloatArray, y: IntArray, when: str) -> tuple[float, int]:
        """Train on one mini-batch; return its mean loss and how many predictions were right."""
        with self._computing():
            step = self._fused_step if fuses(self.model, self.fuse) else self._plain_step
            loss, correct = step(x, y, when)
        self._steps += 1
        return loss, correct

    def _fused_step(self, x: FloatArray, y: IntArray, when: str) -> tuple[float, int]:
        x = self.model.as_input(x)
        with self._programs.running(x) as program, RolledBack(program.stateful):
            loss = program.loss(x, y)
            _check_finite(loss, when)
            if self.clip_norm is not None or not program.backward_and_update(self.optimizer):
                program.backward()
                self._update()
            return loss, program.correct()

    def _plain_step(self, x: FloatArray, y: IntArray, when: str) -> tuple[float, int]:
        with RolledBack([self.model]):
            logits = self.model.forward(x, training=True)
            loss, grad_logits = kernels.softmax_cross_entropy(logits, y)
            _check_finite(loss, when)
            self.model.backward(grad_logits)
            self._update()
            return loss, count_correct(logits, y)

    def _update(self) -> None:
        """Update the parameters by their gradients."""
        if self.clip_norm is not None:
            clip_grad_norm(self.model.parameters(), self.clip_norm)
        self.optimizer.step(self.model.parameters())

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Use the trainer's backend; overflow shows in the loss, NumPy need not warn of it too."""
        with kernels.use_backend(self.backend), np.errstate(over="ignore", invalid="ignore"):
            yield

    def _checked(self, name: str, data: object, least: int) -> tuple[FloatArray, IntArray]:
        """Check data against the model by running it on none of the images."""
        x, y = check_labelled(name, data, least)
        with self._computing():
            classes = self.model.forward(x[:0], training=False).shape[-1]
        checks.within(f"{name}'s y", y, classes, "the model's outputs")
        return x, y


def _check_finite(loss: float, when: str) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(when, loss)
