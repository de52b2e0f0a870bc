"""Checkpoints: when they are written, what they hold, and which are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import cnn
from cnn import optim
from cnn.callbacks import Checkpoint, EarlyStopping
from tests.cnn.runs import Halt, Noise, Run, noisy_net
from tests.cnn.toys import small_net, stripes


def test_how_often(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, saved = [0.0], []
    monkeypatch.setattr("cnn.callbacks.checkpoints.monotonic", lambda: now[0])

    class Clock(cnn.Observer):
        def on_batch(self, progress: cnn.BatchProgress) -> None:
            now[0] += 10

    class Counting(Checkpoint):
        def save(self) -> None:
            super().save()
            saved.append(now[0])

    def times(**arguments: Any) -> list[float]:
        now[0] = 0.0
        saved.clear()
        checkpoint = Counting(path, **arguments)
        trainer = cnn.Trainer(small_net(), backend="numpy")
        trainer.fit(
            stripes(15), stripes(5), epochs=3, batch_size=4, callbacks=[Clock(), checkpoint]
        )
        return list(saved)

    assert times() == [0, 60, 120, 120]
    assert times(every_seconds=35) == [0, 40, 80, 120, 120]
    assert times(every_seconds=None) == [0, 120]
    assert times(every_seconds=None, every_steps=5) == [0, 50, 100, 120]
    assert times(every_seconds=70, every_steps=5) == [0, 50, 100, 120]


def test_generators_of_augmentations_are_saved(path: Path) -> None:
    with pytest.raises(Halt):
        Run(path)(halt=3)
    with safe_open(path, framework="np") as file:
        saved = json.loads(file.metadata()["cnn_kernels"])["generators"]
    noise = Noise()
    for size in (4, 4):  # the third step was broken off before it could be saved
        noise(np.zeros((size, 1, 4, 4)))
    assert saved["augment.rng"] == noise.rng.bit_generator.state


def test_leftovers_of_killed_processes_are_removed(path: Path) -> None:
    leftover = path.with_name(f".{path.name}.0a1b2c3d.tmp")
    other = path.with_name(".other.safetensors.0a1b2c3d.tmp")
    leftover.write_bytes(b"half")
    other.write_bytes(b"half")
    Run(path)()
    assert sorted(path.parent.iterdir()) == sorted([path, other])


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Halt):
        Run(path)(halt=6)
    before = path.read_bytes()

    def full_disk(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        Run(path)(resume=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "lr": ({"optimizer": lambda: optim.SGD(0.1, momentum=0.9)}, "optimizer lr was 0.05, now 0.1"),
    "optimizer": ({"optimizer": optim.Adam}, "optimizer name was SGD, now Adam"),
    "schedule": ({"schedule": optim.Step(3)}, "schedule name was Constant, now Step"),
    "clip_norm": ({"clip_norm": 1.0}, "clip_norm was none, now 1.0"),
    "batch size": ({"batch_size": 5}, "batch_size was 4, now 5"),
    "seed": ({"seed": 1}, "seed was 0, now 1"),
    "augment": ({"augment": lambda: None}, "augment was Noise, now none"),
    "validation": ({"validation": None}, "validation was {.*}, now none"),
    "validation data": ({"validation": stripes(6, 3)}, "validation crc32 was"),
    "callbacks": ({"callbacks": list}, "callbacks had EarlyStopping"),
}


@pytest.mark.parametrize(("changed", "message"), OTHER.values(), ids=OTHER.keys())
def test_other_settings_are_refused(path: Path, changed: dict[str, Any], message: str) -> None:
    same: dict[str, Any] = {"callbacks": lambda: [EarlyStopping(5)]}
    with pytest.raises(Halt):
        Run(path, **same)(halt=6)
    before = path.read_bytes()
    with pytest.raises(cnn.CheckpointError, match=f"of a run with other settings .*{message}"):
        Run(path, **same | changed)(resume=True)
    assert path.read_bytes() == before


def test_other_epochs_are_refused_where_the_schedule_minds(path: Path) -> None:
    Run(path, schedule=optim.Cosine())()
    with pytest.raises(cnn.CheckpointError, match="steps was 12, now 20"):
        Run(path, schedule=optim.Cosine(), epochs=5)(resume=True)


def strided() -> cnn.Sequential:
    model = noisy_net()
    model.layers[0].stride = (1, 1)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (small_net, "model 11 layer was Dropout, now Linear"),
        (lambda: noisy_net("float32"), r"model 0 weight was float64 \(2, 1, 3, 3\), now float32"),
        (strided, r"model 0 stride was 1, now \[1, 1\]"),
    ],
)
def test_another_network_is_refused(path: Path, model: Any, message: str) -> None:
    Run(path)()
    with pytest.raises(cnn.CheckpointError, match=f"of another network .*{message}"):
        Run(path, model=model)(resume=True)


def test_early_stopping_cannot_join_later(path: Path) -> None:
    Run(path)()
    with pytest.raises(cnn.CheckpointError, match="it was saved without EarlyStopping"):
        Run(path, epochs=4, callbacks=lambda: [EarlyStopping(5)])(resume=True)


def test_damaged_checkpoints_are_refused(path: Path) -> None:
    Run(path)()
    whole = path.read_bytes()
    for length in (0, 1, 8, 100, 2000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(cnn.CheckpointError, match=f"{path}: not a whole safetensors file"):
            Run(path)(resume=True)
    rng = np.random.default_rng(0)
    for position in rng.integers(8, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(cnn.CheckpointError, match=f"{path}: "):
            Run(path)(resume=True)
        assert path.read_bytes() == damaged


def test_a_model_is_no_checkpoint(path: Path) -> None:
    cnn.save(cnn.models.lenet5(), path)
    with pytest.raises(cnn.CheckpointError, match="not a checkpoint"):
        Run(path)(resume=True)
    with pytest.raises(cnn.CheckpointError, match=r"cannot be read \(Is a directory\)"):
        Run(path.parent)(resume=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"every_seconds": 0}, ValueError, "every_seconds must be finite and above 0, got 0"),
        ({"every_seconds": "x"}, TypeError, "every_seconds must be a number, got 'x'"),
        ({"every_steps": 0}, ValueError, "every_steps must be 1 or more, got 0"),
    ],
)
def test_refused_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Checkpoint("file", **arguments)
