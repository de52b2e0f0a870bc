"""``python -m cnn train``: the files it leaves, how it shows itself, and one line for bad input."""

from __future__ import annotations

import json
import logging
import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import cnn
import kernels
from cnn import cli, progress
from cnn.experiment import FILES, Experiment
from cnn.settings import Settings

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
        (["--optimizer", "lion"], "optimizer must be one of 'sgd', 'adam', 'adamw'; got 'lion'"),
        (["--optimizer", "adam", "--nesterov"], "--nesterov, --weight-decay: nesterov fit sgd"),
        (["--nesterov"], "nesterov needs a momentum above 0, got 0"),
        (["--momentum", "1"], "momentum must be from 0 to below 1, got 1.0"),
        (["--weight-decay", "-1"], "weight_decay must be finite and 0 or more, got -1.0"),
        (["--schedule", "sine"], "--schedule, --warmup: schedule must be one of 'constant', "),
        (["--warmup", "45"], "warmup must be shorter than the training of 45 steps, got 45"),
        (["--clip-norm", "0"], "--clip-norm: clip_norm must be finite and above 0, got 0.0"),
        (["--shift", "-1"], "--shift, --rotation: shift must be finite and 0 or more, got -1.0"),
        (["--validation", "1"], "--validation: validation must be between 0 and 1, got 1.0"),
        (["--early-stopping", "2"], "--early-stopping: needs images to select by: give --valid"),
        (
            ["--early-stopping", "0", "--validation", "0.1"],
            "--early-stopping: patience must be 1 or more, got 0",
        ),
        (["--checkpoint-every", "soon"], "must be as in 60s (seconds) or 500 (steps), got 'soon'"),
        (["--checkpoint-every", "0s"], "every_seconds must be finite and above 0, got 0.0"),
        (["--checkpoint-every", "0"], "every_steps must be 1 or more, got 0"),
        (["--log", "xml"], "--log: log must be one of 'csv', 'jsonl', 'tensorboard'; got 'xml'"),
        (["--dataset", "."], "--dataset: .: must hold a folder of images for each of 2 or more"),
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


def test_other_settings_are_not_resumed(
    finished: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "checkpoint.safetensors"
    (tmp_path / name).write_bytes((finished[0] / name).read_bytes())
    assert cli.main([*QUICK, "--out", str(tmp_path), "--resume", "--lr", "0.5"]) == 2
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1
    assert f"{tmp_path / name}: of a run with other settings (optimizer lr was 0.02" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_earlier_checkpoint_is_kept(
    finished: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "checkpoint.safetensors"
    content = (finished[0] / name).read_bytes()
    (tmp_path / name).write_bytes(content)
    assert cli.main([*QUICK, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "checkpoint.old.safetensors").read_bytes() == content
    assert (tmp_path / name).read_bytes() != content
    assert "an earlier run's, kept as checkpoint.old.safetensors" in capfd.readouterr().out


@pytest.mark.slow
def test_ctrl_c_in_a_process_saves(tmp_path: Path) -> None:
    arguments = [*QUICK[:-1], "40", "--checkpoint-every", "1000s", "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnn", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch 1: ")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "error: interrupted\n"
    assert "checkpoint.safetensors: saved, so that the training can be resumed" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]


def test_a_disk_that_is_full_for_a_checkpoint(finished: tuple[Path, str], tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the system refuses to write on."""
    (tmp_path / "out").mkdir()
    checkpoint = tmp_path / "out" / "checkpoint.safetensors"
    checkpoint.write_bytes((finished[0] / checkpoint.name).read_bytes())
    before = checkpoint.read_bytes()
    limit = len(before) // 2
    same = ["--lr", "0.02", "--seed", "5", "--out", "out", "--resume"]
    result = subprocess.run(
        [sys.executable, "-m", "cnn", *QUICK[:-1], "9", *same],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "error: [Errno 27] File too large: 'out/checkpoint.safetensors'\n"
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


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


def test_ctrl_c_with_older_versions_of_typer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def aborted(*_: object, **__: object) -> None:
        raise typer.Abort

    monkeypatch.setattr(cli, "app", aborted)
    assert cli.main(["train"]) == 130
    assert capfd.readouterr().err == "error: interrupted\n"


def test_notes_of_the_kernels_are_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """They say, for one, why the first run takes long."""
    assert cli.main(["gradcheck", "--seed", "-1"]) == 2
    logging.getLogger("kernels").info("compiling")
    assert capfd.readouterr().out == "compiling\n"


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
    options = (
        "backend dataset normalize shift rotation validation model epochs batch-size optimizer lr "
        "momentum nesterov weight-decay schedule warmup clip-norm early-stopping seed threads out "
        "resume checkpoint-every log"
    )
    assert all(f"--{name} " in shown for name in options.split())


def test_fusion_can_be_switched_off(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for asked in (None, True, False):
        settings = Settings(dataset="digits", backend="numpy", out=str(tmp_path), fuse=asked)
        assert Experiment(settings).trainer.fuse is asked
    for option in ("--fuse", "--no-fuse"):
        assert cli.main(["train", option, "--model", "vgg"]) == 2
        assert capfd.readouterr().err.startswith("error: --model: ")
