"""One training run from its settings to the files it leaves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kernels
from cnn import data, environment, models, optim
from cnn.files import replacing
from cnn.monitoring import BatchProgress, EpochMetrics, Observer
from cnn.serialization import save
from cnn.trainer import Trainer
from kernels.ops import checks

MODEL, METRICS, GRAPH, PREDICTIONS = FILES = (
    "model.safetensors",
    "metrics.json",
    "model_graph.png",
    "pred.png",
)


class SettingError(ValueError):
    """A setting cannot be used; the message starts with its option's name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``python -m cnn train`` can be told."""

    backend: str | None = None
    dataset: str = "mnist-subset"
    model: str = "mnist_cnn"
    epochs: int = 3
    batch_size: int = 32
    lr: float = 0.01
    optimizer: str = "sgd"
    seed: int = 0
    threads: int | None = None
    out: str = "runs/latest"


class FirstStep(Observer):
    """Passes everything on, and notes when the first step was done."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.seconds: float | None = None

    def on_batch(self, progress: BatchProgress) -> None:
        """Note the time, if this is the first step."""
        if self.seconds is None:
            self.seconds = environment.process_seconds()
        self._observer.on_batch(progress)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Pass it on."""
        self._observer.on_epoch(metrics)


class Experiment:
    """A training run that is known to be possible: its folder is there, its data are loaded.

    Parameters
    ----------
    settings : Settings
        What to do.

    Raises
    ------
    SettingError
        If something in them cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._epochs = _count("--epochs", settings.epochs, 1)
        self._batch_size = _count("--batch-size", settings.batch_size, 1)
        seed = _count("--seed", settings.seed, 0)
        if settings.threads is not None:
            with option("--threads"):
                kernels.set_num_threads(settings.threads)
        with option("--optimizer, --lr"):
            optimizer = optim.create(settings.optimizer, lr=settings.lr)
        with option("--dataset"):
            self.data = data.load(settings.dataset)
        with option("--model"):
            model = models.create(
                settings.model,
                input_shape=self.data.input_shape,
                num_classes=len(self.data.class_names),
                seed=seed,
            )
        with option("--backend"):
            self.trainer = Trainer(model, optimizer=optimizer, backend=settings.backend, seed=seed)
        with option("--out"):  # last, so that nothing is made for a run that cannot be
            self.folder = _writable_folder(Path(settings.out))

    def run(self, observer: Observer) -> list[EpochMetrics]:
        """Train, test, and write the four files.

        Raises
        ------
        SettingError
            If the model, the data and the batch size do not fit together.
        cnn.NonFiniteLossError
            If training diverges; nothing is written then.
        OSError
            If a file cannot be written after all.
        """
        first_step = FirstStep(observer)
        train = self.data.train
        try:
            warm_up = self.trainer.warm_up(train.x[:2], train.y[:2])
            history = self.trainer.fit(
                train,
                self.data.test,
                epochs=self._epochs,
                batch_size=self._batch_size,
                callbacks=[first_step],
            )
        except kernels.ShapeError as error:
            raise SettingError(
                f"--model, --dataset and --batch-size do not fit together: {error}"
            ) from error
        self._save_model()
        self._save_metrics(history, warm_up, first_step.seconds)
        self._draw(history)
        return history

    def _save_model(self) -> None:
        save(
            self.trainer.model,
            self.folder / MODEL,
            scaling=self.data.scaling,
            class_names=self.data.class_names,
        )

    def _draw(self, history: list[EpochMetrics]) -> None:
        from cnn import plots  # matplotlib would delay the first step

        settings = self.settings
        plots.plot_history(
            history,
            self.folder / GRAPH,
            title=f"{settings.model} on {settings.dataset}, {self.trainer.backend} backend",
        )
        shown = plots.GRID**2
        x, y = self.data.test.x[:shown], self.data.test.y[:shown]
        with kernels.use_backend(self.trainer.backend):
            probabilities = self.trainer.model.predict_proba(x)
        plots.plot_predictions(
            x, y, probabilities, self.data.class_names, self.folder / PREDICTIONS
        )

    def _save_metrics(
        self, history: list[EpochMetrics], warm_up: float, first_step: float | None
    ) -> None:
        metrics: dict[str, Any] = {
            "settings": asdict(self.settings)
            | {"backend": self.trainer.backend, "threads": kernels.get_num_threads()},
            "versions": environment.versions(),
            "machine": environment.machine(),
            "dataset": {
                "name": self.data.name,
                "train_images": len(self.data.train.x),
                "test_images": len(self.data.test.x),
                "input_shape": self.data.input_shape,
                "class_names": self.data.class_names,
                "scaling": asdict(self.data.scaling),
            },
            "seconds_to_compile_or_load": warm_up,
            "seconds_to_first_step": first_step,
            "seconds_total": environment.process_seconds(),
            "epochs": history,
        }
        with replacing(self.folder / METRICS) as temporary:
            temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


@contextmanager
def option(name: str) -> Iterator[None]:
    """Name the option in what goes wrong with its value."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise SettingError(f"{name}: {error}") from error


def _count(name: str, value: int, least: int) -> int:
    try:
        return checks.integer(name, value, least)
    except (ValueError, TypeError) as error:
        raise SettingError(str(error)) from error


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
    for name in FILES:
        if (folder / name).is_dir():
            raise ValueError(f"{folder / name} must be a file or not there, but it is a folder")
    return folder
