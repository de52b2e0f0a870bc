"""``python -m cnn train``: the files it leaves, and how it shows itself."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import numpy as np
import pytest

import cnn
import kernels
from cnn import progress
from cnn.experiment import FILES
from tests.cnn.commands import QUICK, TWICE, run, start


def test_five_files_and_no_others(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == set(FILES)
    for name in ("model_graph.png", "pred.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_metrics(finished: tuple[Path, str]) -> None:
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    assert metrics["settings"] == {
        "backend": "numpy",
        "dataset": "digits",
        "normalize": False,
        "shift": 0,
        "rotation": 0,
        "validation": 0,
        "model": "mnist_cnn",
        "epochs": 2,
        "batch_size": 32,
        "optimizer": "sgd",
        "lr": 0.02,
        "momentum": 0,
        "nesterov": False,
        "weight_decay": None,
        "schedule": "constant",
        "warmup": 0,
        "clip_norm": None,
        "early_stopping": None,
        "seed": 5,
        "threads": 1,
        "fuse": None,
        "out": "runs/latest",
        "resume": False,
        "checkpoint_every": "60s",
        "log": [],
    }
    assert metrics["model_epoch"] == 2
    assert metrics["versions"]["numpy"] == np.__version__
    assert metrics["machine"]["cores"] == os.cpu_count()
    assert metrics["dataset"]["train_images"] == 1437
    assert 0 < metrics["seconds_to_compile_or_load"] < metrics["seconds_to_first_step"]
    assert metrics["seconds_to_first_step"] < metrics["seconds_total"]
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [1, 2]
    assert set(metrics["epochs"][0]) == cnn.EpochMetrics.__required_keys__
    assert metrics["epochs"][1]["train_loss"] < metrics["epochs"][0]["train_loss"]


def test_the_model_file_gives_the_reported_accuracy(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    model = cnn.load(folder / "model.safetensors")
    assert model.class_names == tuple("0123456789")
    assert model.scaling == cnn.Scaling(16)
    tested = cnn.Trainer(model, backend="numpy").evaluate(cnn.data.load("digits").test)
    reported = json.loads((folder / "metrics.json").read_text())["epochs"][-1]
    assert tested["accuracy"] == reported["test_accuracy"]
    assert tested["loss"] == pytest.approx(reported["test_loss"])


def test_lines_where_there_is_no_terminal(finished: tuple[Path, str]) -> None:
    lines = finished[1].splitlines()
    assert lines[0].startswith("epoch 1: loss ")
    assert lines[1].startswith("epoch 2: loss ")
    assert lines[2].startswith("test accuracy ")
    names = "model.safetensors, metrics.json, model_graph.png, pred.png, checkpoint.safetensors"
    assert lines[3] == f"runs/latest: {names}"


def test_a_line_every_50_batches(capsys: pytest.CaptureFixture[str]) -> None:
    for batch in range(1, 121):
        progress.Lines().on_batch(cnn.BatchProgress(1, 3, batch, 120, 0.5, 0.75, 1234.5))
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 1/3  batch {batch:4d}/120  loss 0.5000  accuracy 75.00%  1,234 images/s"
        for batch in (50, 100)
    ]


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = start(
        tmp_path, *QUICK, env={"COLUMNS": "120", "TERM": "xterm"}, stdout=theirs, stderr=None
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # how Linux tells that the other end was closed
        os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    for expected in ("epoch 1/1", "━", "loss", "accuracy", "images/s", "100 %", "left"):
        assert expected in text
    assert "test accuracy" in text


def test_the_same_seed_gives_the_same_files(finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er"
    assert run(tmp_path, *TWICE, "--out", str(out)).returncode == 0
    name = "model.safetensors"
    assert (out / name).read_bytes() == (finished[0] / name).read_bytes()


RECIPE = [
    *("train", "--backend", "numpy", "--dataset", "digits", "--normalize", "--shift", "1"),
    *("--rotation", "5", "--validation", "0.2", "--epochs", "30", "--optimizer", "sgd"),
    *("--momentum", "0.9", "--nesterov", "--lr", "0.2", "--weight-decay", "0.001"),
    *("--schedule", "one-cycle", "--clip-norm", "2", "--early-stopping", "1"),
    *("--log", "csv", "--log", "jsonl", "--log", "tensorboard"),
]


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with a recipe, stopped early, and what it printed."""
    folder = tmp_path_factory.mktemp("recipe")
    result = run(folder, *RECIPE)
    assert result.returncode == 0, result.stderr
    return folder / "runs" / "latest", result.stdout


@pytest.mark.slow
def test_a_recipe_leaves_logs_and_the_best_model(selected: tuple[Path, str]) -> None:
    folder, printed = selected
    names = {"best.safetensors", "log.csv", "log.jsonl", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == {*FILES, *names}
    metrics = json.loads((folder / "metrics.json").read_text())
    history = metrics["epochs"]
    losses = [epoch["validation_loss"] for epoch in history]
    best = 1 + losses.index(min(losses))
    assert metrics["model_epoch"] == best == len(history) - 1 < 29
    accuracy = history[best - 1]["test_accuracy"]
    assert f"test accuracy {accuracy:.2%} after epoch {best}" in printed
    assert f"validation loss {losses[0]:.4f}" in printed
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    assert metrics["dataset"]["train_images"] + metrics["dataset"]["validation_images"] == 1437


@pytest.mark.slow
def test_the_model_is_the_best_one_and_knows_its_normalisation(
    selected: tuple[Path, str],
) -> None:
    folder, _ = selected
    model, best = cnn.load(folder / "model.safetensors"), cnn.load(folder / "best.safetensors")
    assert (folder / "model.safetensors").read_bytes() == (folder / "best.safetensors").read_bytes()
    assert model.scaling is not None
    assert best.scaling is not None
    assert model.scaling.mean == pytest.approx((0.305,), abs=0.01)
    data = cnn.data.load("digits")
    metrics = json.loads((folder / "metrics.json").read_text())
    with kernels.use_backend("numpy"):
        right = model.predict(model.scaling.apply(data.test.x * 16)) == data.test.y
    reported = metrics["epochs"][metrics["model_epoch"] - 1]["test_accuracy"]
    assert right.mean() == pytest.approx(reported)


@pytest.mark.slow
def test_a_finished_run_is_finished(selected: tuple[Path, str]) -> None:
    folder, printed = selected
    before = (folder / "model.safetensors").read_bytes()
    result = run(folder.parents[1], *RECIPE, "--resume")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == printed.splitlines()[-2:]
    assert (folder / "model.safetensors").read_bytes() == before
