"""``python -m cnn train`` and what is in its folder already, or cannot be written there."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from cnn import cli
from tests.cnn.commands import QUICK, run, start


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
    process = start(tmp_path, *arguments)
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
    limits = resource.RLIMIT_FSIZE, (limit, limit)
    result = run(tmp_path, *QUICK[:-1], "9", *same, preexec_fn=lambda: resource.setrlimit(*limits))
    assert result.returncode == 2
    assert result.stderr == "error: [Errno 27] File too large: 'out/checkpoint.safetensors'\n"
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


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
