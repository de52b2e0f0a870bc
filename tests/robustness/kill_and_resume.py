"""Kill ``python -m cnn train`` at random moments, resume it, and compare what it leaves.

``python -m tests.robustness.kill_and_resume --kills 200`` trains a small network with everything
that has a state. A process is killed (SIGKILL) at a random moment, mostly in the training and
sometimes before it; the next one resumes. When a run comes to its end, its models and its metrics
must be those of a run that nobody killed, byte for byte but for the times. Then the next run
starts.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
BEFORE_TRAINING = 0.15
"""Share of the kills that may come before the training has begun."""
SPAN = 0.8
"""A kill comes within this share of the time that a whole process takes: long enough for a resumed
one to come to its end now and then, short enough for most to be killed."""

OPTIONS = [
    *("train", "--dataset", "images.npz", "--normalize", "--shift", "1", "--rotation", "10"),
    *("--validation", "0.2", "--epochs", "6", "--batch-size", "16", "--momentum", "0.9"),
    *("--optimizer", "sgd", "--lr", "0.05", "--schedule", "one-cycle", "--early-stopping", "4"),
    *("--clip-norm", "5", "--checkpoint-every", "2", "--log", "jsonl", "--threads", "1"),
]


@dataclass
class Tally:
    """What has been done so far."""

    kills: int = 0
    kills_in_training: int = 0
    finished: int = 0
    different: int = 0


def make_images(folder: Path) -> None:
    """Write a data set of 400 images of 8×8 pixels in four classes."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = rng.integers(0, 120, (400, 8, 8), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[2 * label : 2 * label + 2] += 100
    np.savez(
        folder / "images.npz", x_train=x[:320], y_train=y[:320], x_test=x[320:], y_test=y[320:]
    )


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


def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that must end well."""
    _, errors = process.communicate()
    if process.returncode:
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


def kill_at_random(
    process: subprocess.Popen[bytes], checkpoint: Path, draw: random.Random, span: float
) -> bool | None:
    """Kill a process; tell whether it was in training, or return None if it came to its end."""
    early = draw.random() < BEFORE_TRAINING
    before = changed(checkpoint)
    while not early and changed(checkpoint) == before and process.poll() is None:
        time.sleep(0.001)  # the training begins with a checkpoint
    try:
        process.wait(draw.uniform(0, span))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return changed(checkpoint) != before
    wait_for(process)
    return None


def changed(file: Path) -> int:
    """Return when a file was written; 0 if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_and_resume(kills: int, seed: int, backend: str, folder: Path, shown: bool) -> Tally:
    """Kill so many times, then let the last run come to its end; return what was found."""
    make_images(folder)
    started = time.monotonic()
    wait_for(start(folder, "whole", backend))
    span = SPAN * (time.monotonic() - started)
    expected, tally, draw = results(folder / "whole"), Tally(), random.Random(seed)
    out = folder / "killed"
    while True:
        process = start(folder, out.name, backend)
        if tally.kills < kills:
            in_training = kill_at_random(process, out / "checkpoint.safetensors", draw, span)
            if in_training is not None:
                tally.kills += 1
                tally.kills_in_training += in_training
                continue
        else:
            wait_for(process)
        tally.finished += 1
        tally.different += results(out) != expected
        if shown:
            print(tally, flush=True)
        shutil.rmtree(out)
        if tally.kills >= kills:
            return tally


def main() -> int:
    """Run from the command line; the exit code is 1 if any run came to another end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--backend", default="numpy")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_and_resume(chosen.kills, chosen.seed, chosen.backend, Path(folder), shown=True)
    return int(tally.different > 0)


if __name__ == "__main__":
    raise SystemExit(main())
