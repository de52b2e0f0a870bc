"""Callbacks: what they leave, when they stop a training, what they are told."""

from __future__ import annotations

import csv
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.callbacks import BestModel, CSVLog, EarlyStopping, JSONLinesLog, TensorBoard
from cnn.callbacks.selection import best_epoch
from tests.cnn.runs import same_arrays
from tests.cnn.toys import small_net, stripes

VALIDATION = stripes(6, 2)


def fit(*callbacks: cnn.Observer, epochs: int = 2, **arguments: Any) -> cnn.Trainer:
    trainer = cnn.Trainer(small_net(), optimizer=cnn.optim.SGD(0.3), backend="numpy")
    settings = {"batch_size": 4, "validation": VALIDATION} | arguments
    trainer.fit(stripes(9), stripes(5, 1), epochs, callbacks=callbacks, **settings)
    return trainer


class Recorder(cnn.Observer):
    """Notes what it is told and keeps the weights of each epoch."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.states: list[dict[str, np.ndarray]] = []
        self.history: list[cnn.EpochMetrics] = []

    def on_start(self, fit: cnn.Fit) -> None:
        self.told.append("start")
        self.fit, self.history = fit, fit.history

    def on_batch(self, progress: cnn.BatchProgress) -> None:
        self.told.append(f"batch {progress.epoch}.{progress.batch}")

    def on_epoch(self, metrics: cnn.EpochMetrics) -> None:
        self.told.append(f"epoch {metrics['epoch']}")
        self.states.append(self.fit.trainer.model.state_dict())

    def on_save_point(self) -> None:
        self.told.append("save")

    def on_end(self) -> None:
        self.told.append("end")


def test_what_callbacks_are_told_and_when() -> None:
    recorder = Recorder()
    fit(recorder)
    assert recorder.told == [
        *("start", "save", "batch 1.1", "save", "batch 1.2", "save", "epoch 1", "save"),
        *("batch 2.1", "save", "batch 2.2", "save", "epoch 2", "save", "end"),
    ]


def test_validation_figures_are_those_of_the_model() -> None:
    recorder = Recorder()
    trainer = fit(recorder)
    figures = trainer.evaluate(VALIDATION)
    assert recorder.history[-1]["validation_loss"] == figures["loss"]
    assert recorder.history[-1]["validation_accuracy"] == figures["accuracy"]
    assert set(recorder.history[0]) == set(cnn.EpochMetrics.__annotations__)


class StopAt(cnn.Observer):
    def __init__(self, batch: int = 0, epoch: int = 0) -> None:
        self.batch, self.epoch = batch, epoch

    def on_start(self, fit: cnn.Fit) -> None:
        self.fit = fit

    def on_batch(self, progress: cnn.BatchProgress) -> None:
        if (progress.epoch, progress.batch) == (2, self.batch):
            self.fit.stop()

    def on_epoch(self, metrics: cnn.EpochMetrics) -> None:
        if metrics["epoch"] == self.epoch:
            self.fit.stop()


def test_a_callback_may_stop_the_training() -> None:
    recorder = Recorder()
    fit(StopAt(batch=1), recorder, epochs=5)
    assert recorder.told[-3:] == ["batch 2.1", "save", "end"]
    assert len(recorder.history) == 1
    recorder = Recorder()
    fit(StopAt(epoch=2), recorder, epochs=5)
    assert recorder.told[-3:] == ["epoch 2", "save", "end"]
    assert len(recorder.history) == 2


def test_callbacks_may_come_from_a_generator() -> None:
    recorder = Recorder()
    trainer = cnn.Trainer(small_net(), backend="numpy")
    trainer.fit(stripes(9), stripes(5, 1), 1, callbacks=(one for one in [recorder]))
    assert recorder.told[-1] == "end"


def test_callbacks_must_be_observers() -> None:
    with pytest.raises(TypeError, match=r"callbacks must be of cnn.Observer, got <class"):
        fit(Recorder)


def history(losses: list[float]) -> list[cnn.EpochMetrics]:
    return [
        {"epoch": epoch, "validation_loss": loss, "validation_accuracy": -loss}
        for epoch, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize("monitor", ["validation_loss", "validation_accuracy"])
def test_the_best_epoch(monitor: Any) -> None:
    assert best_epoch([], monitor) == 0
    assert best_epoch(history([0.5]), monitor) == 1
    assert best_epoch(history([0.5, 0.4, 0.4, 0.6]), monitor) == 2
    assert best_epoch(history([0.5, 0.45, 0.41, 0.3]), monitor, min_delta=0.1) == 4
    assert best_epoch(history([0.5, 0.45, 0.41]), monitor, min_delta=0.1) == 1


@pytest.mark.parametrize("monitor", ["validation_loss", "validation_accuracy"])
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(monitor: Any, restore: bool) -> None:
    recorder, stopping = Recorder(), EarlyStopping(2, monitor, restore_best=restore)
    trainer = fit(recorder, stopping, epochs=30)
    epochs = len(recorder.history)
    assert epochs < 30
    best = best_epoch(recorder.history, monitor)
    assert stopping.best_epoch == best == epochs - 2
    expected = recorder.states[best - 1 if restore else epochs - 1]
    assert same_arrays(trainer.model.state_dict(), expected)


def test_best_weights_come_back_where_patience_was_not_at_its_end() -> None:
    recorder, stopping = Recorder(), EarlyStopping(100, "validation_accuracy")
    trainer = fit(recorder, stopping, epochs=6)
    assert len(recorder.history) == 6
    assert stopping.best_epoch < 6
    expected = recorder.states[stopping.best_epoch - 1]
    assert same_arrays(trainer.model.state_dict(), expected)


def test_the_best_model_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    model = cnn.models.mnist_cnn((1, 4, 4), num_classes=3)
    recorder = Recorder()
    cnn.Trainer(model, optimizer=cnn.optim.SGD(0.3), backend="numpy").fit(
        stripes(9),
        stripes(5, 1),
        epochs=6,
        batch_size=4,
        validation=VALIDATION,
        callbacks=[
            recorder,
            BestModel(path, "validation_accuracy", scaling=cnn.Scaling(2), class_names="abc"),
        ],
    )
    best = best_epoch(recorder.history, "validation_accuracy")
    assert best < 6
    loaded = cnn.load(path)
    assert same_arrays(loaded.state_dict(), recorder.states[best - 1])
    assert loaded.scaling == cnn.Scaling(2)
    assert loaded.class_names == ("a", "b", "c")


def test_the_best_model_must_be_one_that_can_be_saved(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="BestModel needs a model built by"):
        fit(BestModel(tmp_path / "best"), recorder)
    assert recorder.told == []


@pytest.mark.parametrize("make", [lambda path: EarlyStopping(), BestModel])
def test_selection_needs_validation_data(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs validation data to select by, but fit got none"):
        fit(make(tmp_path / "best"), validation=None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(0), ValueError, "patience must be 1 or more, got 0"),
        (lambda: EarlyStopping(1, "test_loss"), ValueError, "got 'test_loss'"),
        (lambda: EarlyStopping(1, min_delta=-1), ValueError, "min_delta must be finite and 0 or"),
        (lambda: BestModel("file", "loss"), ValueError, "monitor must be one of 'validation_loss'"),
    ],
)
def test_refused_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_logs_hold_the_history(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(recorder, CSVLog(tmp_path / "log.csv"), JSONLinesLog(tmp_path / "log.jsonl"), epochs=3)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == recorder.history
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == recorder.history


class Fail(cnn.Observer):
    def on_epoch(self, metrics: cnn.EpochMetrics) -> None:
        if metrics["epoch"] == 2:
            raise RuntimeError("broken off")


def test_logs_of_a_resumed_training_have_each_epoch_once(tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "log.jsonl", tmp_path / "checkpoint"

    def callbacks() -> list[cnn.Observer]:
        return [JSONLinesLog(log), cnn.callbacks.Checkpoint(checkpoint, every_steps=3)]

    with pytest.raises(RuntimeError, match="broken off"):
        fit(*callbacks(), Fail(), epochs=4)
    assert len(log.read_text().splitlines()) == 2  # but the checkpoint is of epoch 1
    fit(*callbacks(), epochs=4, resume_from=checkpoint)
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3, 4]


def events(folder: Path) -> list[tuple[int, str, float]]:
    """All scalars in a folder of TensorBoard's event files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        content, position = file.read_bytes(), 0
        while position < len(content):
            (length,) = struct.unpack_from("<Q", content, position)
            event = Event.FromString(content[position + 12 : position + 12 + length])
            position += 16 + length  # the length, its checksum, the event, its checksum
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return found


def test_tensorboard(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(recorder, TensorBoard(tmp_path / "logs"))
    found = events(tmp_path / "logs")
    losses = {step: value for step, tag, value in found if tag == "epoch/validation_loss"}
    assert losses == {
        2 * metrics["epoch"]: pytest.approx(metrics["validation_loss"], rel=1e-6)
        for metrics in recorder.history
    }
    assert [step for step, tag, _ in found if tag == "step/loss"] == [1, 2, 3, 4]
    assert {value for _, tag, value in found if tag == "step/lr"} == {np.float32(0.3)}


def test_without_tensorboardx_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboardX"):
        TensorBoard(tmp_path)
