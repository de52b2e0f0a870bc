"""``python -m cnn train``: the files it leaves, how it shows itself, and one line for bad input."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn import cli, progress
from cnn.experiment import FILES

ROOT = Path(cnn.__file__).parents[1]
QUICK = ["train", "--backend", "numpy", "--dataset", "digits", "--epochs", "1"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnn", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run from an empty folder, with the default --out, and what it printed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    result = run(folder, *QUICK[:-1], "2", "--lr", "0.02", "--seed", "5", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder / "runs" / "latest", result.stdout


def test_four_files_and_no_others(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == set(FILES)
    for name in ("model_graph.png", "pred.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_metrics(finished: tuple[Path, str]) -> None:
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    assert metrics["settings"] == {
        "backend": "numpy",
        "dataset": "digits",
        "model": "mnist_cnn",
        "epochs": 2,
        "batch_size": 32,
        "lr": 0.02,
        "optimizer": "sgd",
        "seed": 5,
        "threads": 1,
        "out": "runs/latest",
    }
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
    assert lines[3] == "runs/latest: model.safetensors, metrics.json, model_graph.png, pred.png"


def test_a_line_every_50_batches(capsys: pytest.CaptureFixture[str]) -> None:
    for batch in range(1, 121):
        progress.Lines().on_batch(cnn.BatchProgress(1, 3, batch, 120, 0.5, 0.75, 1234.5))
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 1/3  batch {batch:4d}/120  loss 0.5000  accuracy 75.00%  1,234 images/s"
        for batch in (50, 100)
    ]


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cnn", *QUICK],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"},
        stdout=theirs,
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
    arguments = [*QUICK[:-1], "2", "--lr", "0.02", "--seed", "5", "--threads", "1"]
    assert run(tmp_path, *arguments, "--out", str(out)).returncode == 0
    name = "model.safetensors"
    assert (out / name).read_bytes() == (finished[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "cuda"], "--backend: backend must be one of 'naive', 'numpy', 'numba'"),
        (["--dataset", "cifar"], "--dataset: dataset must be one of 'mnist-subset', 'digits'"),
        (["--model", "vgg"], "--model: model must be one of 'mnist_cnn', 'lenet5'"),
        (["--optimizer", "adam"], "optimizer must be one of 'sgd'; got 'adam'"),
        (["--lr", "nan"], "lr must be finite and above 0, got nan"),
        (["--lr", "-1"], "lr must be finite and above 0, got -1.0"),
        (["--lr", "fast"], "Invalid value for '--lr'"),
        (["--epochs", "0"], "--epochs must be 1 or more, got 0"),
        (["--epochs", "1.5"], "Invalid value for '--epochs'"),
        (["--batch-size", "0"], "--batch-size must be 1 or more, got 0"),
        (["--batch-size", "1"], "--batch-size do not fit together: x must have 2 or more values"),
        (["--seed", "-1"], "--seed must be 0 or more, got -1"),
        (["--threads", "0"], "--threads: n must be 1 or more, got 0"),
        (["--threads", "100000"], "--threads: n must be at most"),
        (["--epoch", "3"], "No such option: --epoch"),
        (["--out"], "--out"),
        (["extra"], "extra"),
        (["--lr", "1e30"], "epoch 1, step 2 of 45: the loss is nan; a lower learning rate"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*QUICK, *arguments]) == 2
    captured = capfd.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    if "1e30" not in arguments and "--batch-size" not in arguments:  # training finds those out
        assert not list(tmp_path.iterdir())


def test_bad_input_to_a_process(tmp_path: Path) -> None:
    result = run(tmp_path, *QUICK, "--lr", "1e30")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error: epoch 1, step 2 of 45: the loss is nan; a lower learning rate may help\n"
    )


@pytest.mark.parametrize("blocked", ["file", "file/below", "/proc/none"])
def test_an_unwritable_folder_is_found_before_training(
    blocked: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main([*QUICK, "--out", str(tmp_path / blocked)]) == 2
    captured = capfd.readouterr()
    assert captured.err.startswith(f"error: --out: {tmp_path / blocked} must be a folder that can")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_folder_where_a_file_is_to_go(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.json").mkdir()
    assert cli.main([*QUICK, "--out", str(tmp_path)]) == 2
    assert "metrics.json must be a file or not there, but it is a folder" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["tran"], ["--version"]])
def test_no_such_command(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cnn.Trainer, "fit", interrupted)
    assert cli.main([*QUICK, "--out", str(tmp_path)]) == 130
    assert capfd.readouterr().err == "error: interrupted\n"


def test_a_full_disk_at_the_end_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "metrics.json")

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main([*QUICK, "--out", str(tmp_path)]) == 2
    assert capfd.readouterr().err.splitlines() == [
        "error: [Errno 28] No space left on device: 'metrics.json'"
    ]
    assert (tmp_path / "model.safetensors").exists()


def test_help_names_every_option(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--help"]) == 0
    shown = capfd.readouterr().out
    options = "backend dataset model epochs batch-size lr optimizer seed threads out"
    assert all(f"--{name} " in shown for name in options.split())
