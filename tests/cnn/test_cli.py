"""The command line by itself: help, one line for bad input, and Ctrl-C."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import typer

import cnn
from cnn import cli
from cnn.experiment import Experiment
from cnn.settings import Settings
from tests.cnn.commands import QUICK, run


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


@pytest.mark.parametrize("arguments", [[], ["tran"], ["--version"]])
def test_no_such_command(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1


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


def test_notes_of_the_kernels_are_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """They say, for one, why the first run takes long."""
    assert cli.main(["gradcheck", "--seed", "-1"]) == 2
    logging.getLogger("kernels").info("compiling")
    assert capfd.readouterr().out == "compiling\n"


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
