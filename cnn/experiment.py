"""One training run from its settings to the files it leaves."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kernels
from cnn import callbacks, data, environment, models, results
from cnn.batches import batch_count
from cnn.files import remove_leftovers
from cnn.monitoring import BatchProgress, EpochMetrics, Observer
from cnn.registry import lookup
from cnn.settings import (
    SettingError,
    Settings,
    count,
    how_often,
    optimizer_of,
    option,
    schedule_of,
)
from cnn.trainer import Trainer
from kernels import dispatch

LOG = logging.getLogger(__name__)
CHECKPOINT, OLD_CHECKPOINT = "checkpoint.safetensors", "checkpoint.old.safetensors"
BEST = "best.safetensors"
FILES = (results.MODEL, results.METRICS, results.GRAPH, results.PREDICTIONS, CHECKPOINT)
LOGS: dict[str, Callable[[Path], Observer]] = {
    "csv": lambda folder: callbacks.CSVLog(folder / "log.csv"),
    "jsonl": lambda folder: callbacks.JSONLinesLog(folder / "log.jsonl"),
    "tensorboard": lambda folder: callbacks.TensorBoard(folder / "tensorboard"),
}


class FirstStep(Observer):
    """Notes when the first step was done."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def on_batch(self, progress: BatchProgress) -> None:
        """Note the time, if this is the first step."""
        if self.seconds is None:
            self.seconds = environment.process_seconds()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    history : list of EpochMetrics
        All epochs.
    epoch : int
        The one whose weights the model has: the last, or the best if that was restored.
    """

    history: list[EpochMetrics]
    epoch: int

    @property
    def test_accuracy(self) -> float:
        """Of the model."""
        return self.history[self.epoch - 1]["test_accuracy"]


class Experiment:
    """A training run that is known to be possible: its folder is there, its data are loaded.

    Parameters
    ----------
    settings : Settings
        What to do.

    Attributes
    ----------
    settings
        As given.
    data : Dataset
        Split and normalised.
    trainer : Trainer
        Of the model with its first weights.
    augment : Augmentation or None
        What moves training images.
    folder : Path
        For the results.

    Raises
    ------
    SettingError
        If something in them cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._epochs = count("--epochs", settings.epochs, 1)
        self._batch_size = count("--batch-size", settings.batch_size, 1)
        seed = count("--seed", settings.seed, 0)
        if settings.threads is not None:
            with option("--threads"):
                kernels.set_num_threads(settings.threads)
        with option("--backend"):
            backend = dispatch.chosen_name(settings.backend)
        with option("--model"):
            make_model = lookup("model", models.MODELS, settings.model)
        optimizer = optimizer_of(settings)
        with option("--shift, --rotation"):
            augment = data.Augmentation(settings.shift, settings.rotation, seed=seed)
        self.augment = augment if augment.shift or augment.rotation else None
        self._stopping = _early_stopping(settings)
        how_often(settings.checkpoint_every)
        self.data = _load(settings, seed)
        with option("--model"):
            model = make_model(
                input_shape=self.data.input_shape,
                num_classes=len(self.data.class_names),
                seed=seed,
            )
        steps = self._epochs * batch_count(len(self.data.train.y), self._batch_size)
        schedule = schedule_of(settings, steps)
        with option("--clip-norm"):
            self.trainer = Trainer(
                model,
                optimizer=optimizer,
                schedule=schedule,
                clip_norm=settings.clip_norm,
                backend=backend,
                seed=seed,
                fuse=settings.fuse,
            )
        with option("--log"):
            folder = Path(settings.out)
            self._logs = [lookup("log", LOGS, name)(folder) for name in settings.log]
        with option("--out"):  # last, so that nothing is made for a run that cannot be
            self.folder = _writable_folder(folder)

    def run(self, shown: Observer) -> Outcome:
        """Train, test, and write the files.

        Raises
        ------
        SettingError
            If the model, the data and the batch size do not fit together.
        cnn.NonFiniteLossError
            If training diverges; no results are written then.
        cnn.CheckpointError
            If the checkpoint to resume from is damaged or of another run.
        OSError
            If a file cannot be written after all.
        """
        first_step = FirstStep()
        train, checkpoint = self.data.train, self.folder / CHECKPOINT
        self._tidy(checkpoint)
        try:
            warm_up = self.trainer.warm_up(train.x[:2], train.y[:2])
            history = self.trainer.fit(
                train,
                self.data.test,
                epochs=self._epochs,
                batch_size=self._batch_size,
                validation=self.data.validation,
                augment=self.augment,
                callbacks=[shown, first_step, *self._callbacks()],
                resume_from=checkpoint if self.settings.resume else None,
            )
        except kernels.ShapeError as error:
            raise SettingError(
                f"--model, --dataset and --batch-size do not fit together: {error}"
            ) from error
        outcome = Outcome(history, self._stopping.best_epoch if self._stopping else len(history))
        written = (self.trainer, self.data)
        results.save_model(*written, self.folder)
        results.save_metrics(
            self.settings,
            *written,
            history,
            self.folder,
            model_epoch=outcome.epoch,
            seconds_to_compile_or_load=warm_up,
            seconds_to_first_step=first_step.seconds,
        )
        results.draw(self.settings, *written, history, self.folder)
        return outcome

    def _callbacks(self) -> list[Observer]:
        chosen: list[Observer] = [*self._logs]
        if self.data.validation is not None:
            scaling, names = self.data.scaling, self.data.class_names
            best = callbacks.BestModel(self.folder / BEST, scaling=scaling, class_names=names)
            chosen.append(best)
        if self._stopping is not None:
            chosen.append(self._stopping)
        often = how_often(self.settings.checkpoint_every)
        return [*chosen, callbacks.Checkpoint(self.folder / CHECKPOINT, **often)]

    def _tidy(self, checkpoint: Path) -> None:
        """Remove what killed runs left half written; keep an earlier run's checkpoint once."""
        for name in FILES:
            remove_leftovers(self.folder / name)
        if checkpoint.exists() and not self.settings.resume:
            checkpoint.replace(self.folder / OLD_CHECKPOINT)
            LOG.info("%s: an earlier run's, kept as %s", checkpoint, OLD_CHECKPOINT)


def _early_stopping(settings: Settings) -> callbacks.EarlyStopping | None:
    if settings.early_stopping is None:
        return None
    with option("--early-stopping"):
        if not settings.validation:
            raise ValueError("needs images to select by: give --validation, 0.1 say")
        return callbacks.EarlyStopping(settings.early_stopping)


def _load(settings: Settings, seed: int) -> data.Dataset:
    with option("--dataset"):
        loaded = data.load(settings.dataset)
    if settings.validation:
        with option("--validation"):
            loaded = loaded.with_validation(settings.validation, seed)
    return loaded.normalized() if settings.normalize else loaded


def _writable_folder(folder: Path) -> Path:
    """Make the folder and prove that files can be written there, before hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that can be written to ({error.strerror})"
        ) from error
    for name in (*FILES, BEST, OLD_CHECKPOINT):
        if (folder / name).is_dir():
            raise ValueError(f"{folder / name} must be a file or not there, but it is a folder")
    return folder
