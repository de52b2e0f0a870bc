"""The files that a training run leaves when it ends: metrics, the model and two pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kernels
from cnn import environment
from cnn.data import Dataset
from cnn.files import replacing
from cnn.monitoring import EpochMetrics
from cnn.serialization import save
from cnn.settings import Settings
from cnn.trainer import Trainer

MODEL, METRICS, GRAPH, PREDICTIONS = (
    "model.safetensors",
    "metrics.json",
    "model_graph.png",
    "pred.png",
)


def save_model(trainer: Trainer, data: Dataset, folder: Path) -> None:
    """Write the model with all that is needed to use it."""
    save(trainer.model, folder / MODEL, scaling=data.scaling, class_names=data.class_names)


def save_metrics(
    settings: Settings,
    trainer: Trainer,
    data: Dataset,
    history: list[EpochMetrics],
    folder: Path,
    **more: Any,
) -> None:
    """Write the settings, versions, machine and data, ``more`` figures, and the epochs."""
    metrics = {
        "settings": asdict(settings)
        | {
            "backend": trainer.backend,
            "threads": kernels.get_num_threads(),
            "lr": trainer.optimizer.lr,
        },
        "versions": environment.versions(),
        "machine": environment.machine(),
        "dataset": {
            "name": data.name,
            "train_images": len(data.train.x),
            "validation_images": 0 if data.validation is None else len(data.validation.x),
            "test_images": len(data.test.x),
            "input_shape": data.input_shape,
            "class_names": data.class_names,
            "scaling": data.scaling.as_json(),
        },
        **more,
        "seconds_total": environment.process_seconds(),
        "epochs": history,
    }
    with replacing(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def draw(
    settings: Settings,
    trainer: Trainer,
    data: Dataset,
    history: list[EpochMetrics],
    folder: Path,
) -> None:
    """Draw the curves of the training, and some test images with what the model says of them."""
    from cnn import plots  # matplotlib would delay the first step

    dataset = Path(settings.dataset).resolve().name  # of a path only what fits a line
    title = f"{settings.model} on {dataset}, {trainer.backend} backend"
    plots.plot_history(history, folder / GRAPH, title=title)
    shown = plots.GRID**2
    x, y = data.test.x[:shown], data.test.y[:shown]
    with kernels.use_backend(trainer.backend):
        probabilities = trainer.model.predict_proba(x)
    images = data.scaling.brightness(x)
    plots.plot_predictions(images, y, probabilities, data.class_names, folder / PREDICTIONS)
