"""Kill ``python -m cnn train`` at random moments, resume it, and compare what it leaves.

``python -m tests.robustness.kill_and_resume --kills 200`` trains a small network with everything
that has a state. Each process is killed (SIGKILL) at a moment drawn evenly from the time that an
undisturbed one takes from its start to its end, and the next one resumes; those that end before
their moment comes make a run complete. Its models and its metrics must be those of a run that
nobody killed, byte for byte but for the times. Then the next run starts. About two kills fall on
each run, so that every resume is soon compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnn import storage
from cnn.checkpoint import CheckpointError
from tests import banded

ROOT = Path(__file__).parents[2]
PARTS = 10
"""Of a training, to count the kills in each."""

EPOCHS, BATCHES = 24, 16
OPTIONS = [
    *("train", "--dataset", "images.npz", "--normalize", "--shift", "1", "--rotation", "10"),
    *("--validation", "0.2", "--epochs", str(EPOCHS), "--batch-size", "16", "--momentum", "0.9"),
    *("--optimizer", "sgd", "--lr", "0.05", "--schedule", "one-cycle", "--early-stopping", "20"),
    *("--clip-norm", "5", "--checkpoint-every", "2", "--log", "jsonl", "--threads", "1"),
]


@dataclass
class Tally:
    """What has been done so far.

    Attributes
    ----------
    starting, training, finishing : int or list of int
        Kills before a process began to train, in each part of the training, and after it, while
        the results were written.
    completed, different : int
        Trainings that came to their end, and those of them that left other bits.
    """

    starting: int = 0
    training: list[int] = field(default_factory=lambda: [0] * PARTS)
    finishing: int = 0
    completed: int = 0
    different: int = 0

    @property
    def kills(self) -> int:
        """All of them."""
        return self.starting + sum(self.training) + self.finishing

    def count(self, began: bool, checkpoint: Path) -> None:
        """Count a kill by what the checkpoint says, which has to be whole.

        Parameters
        ----------
        began : bool
            Whether the process had written it.
        checkpoint : Path
            The file.
        """
        share = training_done(checkpoint) if checkpoint.exists() else 0.0
        if not began:
            self.starting += 1
        elif share == 1:
            self.finishing += 1
        else:
            self.training[int(share * PARTS)] += 1


def training_done(checkpoint: Path) -> float:
    """Return the share of the training that a checkpoint says is done."""
    _, about = storage.read(checkpoint, CheckpointError)
    position = about["position"]
    if position["stopped"]:
        return 1.0
    return float(((position["epoch"] - 1) * BATCHES + position["batch"]) / (EPOCHS * BATCHES))


def start(folder: Path, out: str, backend: str) -> subprocess.Popen[bytes]:
    """Start a training, or resume it."""
    command = [sys.executable, "-m", "cnn", *OPTIONS, "--backend", backend, "--out", out]
    return subprocess.Popen(
        [*command, "--resume"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[bytes], killed: int = 0) -> None:
    """Wait for a process that must end well, or as one that was killed."""
    _, errors = process.communicate()
    if process.returncode not in (0, killed):
        raise SystemExit(f"a training failed: {errors.decode()}")


def results(folder: Path) -> tuple[bytes, bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the models, and the metrics and the log without what a clock says."""
    clocks = {"seconds", "images_per_second"}
    metrics = json.loads((folder / "metrics.json").read_text())["epochs"]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timeless = [
        [{k: v for k, v in epoch.items() if k not in clocks} for epoch in epochs]
        for epochs in (metrics, log)
    ]
    models = ((folder / name).read_bytes() for name in ("model.safetensors", "best.safetensors"))
    return (*models, *timeless)


def killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after so many seconds; tell whether it had not come to its end before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    wait_for(process, killed=-signal.SIGKILL)
    return process.returncode != 0


def changed(file: Path) -> int:
    """Return when a file was written; 0 if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_and_resume(kills: int, seed: int, backend: str, folder: Path) -> Iterator[Tally]:
    """Kill so many times, then let the last run come to its end; yield what was found after each.

    The tally is one object, which goes on counting.
    """
    banded.write(folder / "images.npz", train=320, test=80, pixels=8)
    started = time.monotonic()
    wait_for(start(folder, "whole", backend))
    whole = time.monotonic() - started
    expected, tally, draw = results(folder / "whole"), Tally(), random.Random(seed)
    out = folder / "killed"
    checkpoint = out / "checkpoint.safetensors"
    while tally.kills < kills:
        before = changed(checkpoint)
        if killed(start(folder, out.name, backend), draw.uniform(0, whole)):
            tally.count(changed(checkpoint) != before, checkpoint)
            if tally.kills < kills:
                continue
            wait_for(start(folder, out.name, backend))
        tally.completed += 1
        tally.different += results(out) != expected
        shutil.rmtree(out)
        yield tally


def main() -> int:
    """Run from the command line; the exit code is 1 if any run came to another end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--backend", default="numpy")
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for tally in kill_and_resume(chosen.kills, chosen.seed, chosen.backend, Path(folder)):
            found = {"kills": tally.kills, **asdict(tally), "seconds": time.monotonic() - started}
            print(json.dumps(found), flush=True)
    return int(tally.different > 0)


if __name__ == "__main__":
    raise SystemExit(main())
