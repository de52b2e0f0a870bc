"""What README.md claims about training, tests and correctness, measured as a user would see it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kernels
from bench.turns import ROOT

SEEDS = range(5)
PICTURES = ("model_graph.png", "pred.png")
PYTHONS = ("python3.11", "python3.12", "python3.13")
CASES = 3000
KILLS = 200


def clone(root: Path, folder: Path) -> Path:
    """Clone the last commit into a new folder, as on a fresh machine."""
    target = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(root), str(target)], check=True)
    return target


def _make(folder: Path, cache: Path, *arguments: str) -> tuple[float, str]:
    """Run make in the clone; return its seconds and what it printed."""
    print("make", *arguments, file=sys.stderr, flush=True)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    started = time.perf_counter()
    result = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=outer | {"NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return time.perf_counter() - started, result.stdout


def measure_training(clone: Path, cache: Path, pictures: Path) -> dict[str, Any]:
    """Run ``make train`` with an empty cache, again, and once for each further seed.

    The pictures of the first run are copied to a folder.
    """

    def train(seed: int) -> tuple[float, dict[str, Any]]:
        seconds, _ = _make(clone, cache, "train", f"ARGS=--seed {seed}")
        return seconds, json.loads((clone / "runs/latest/metrics.json").read_text())

    cold_seconds, cold = train(0)
    pictures.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        shutil.copyfile(clone / "runs/latest" / picture, pictures / picture)
    warm_seconds, warm = train(0)
    runs = [warm, *(train(seed)[1] for seed in SEEDS[1:])]
    speeds = [epoch["images_per_second"] for run in runs for epoch in run["epochs"]]
    return {
        "test_accuracy_by_seed": [run["epochs"][-1]["test_accuracy"] for run in runs],
        "images_per_second": statistics.median(speeds),
        "cold_seconds": cold_seconds,
        "compile_seconds": cold["seconds_to_compile_or_load"],
        "warm_seconds": warm_seconds,
        "warm_seconds_to_first_step": warm["seconds_to_first_step"],
    }


def measure_tests(clone: Path, cache: Path) -> dict[str, Any]:
    """Run ``make test`` with each supported Python of this machine, caches empty each time."""
    runs = {}
    for name in PYTHONS:
        if not _works(name):
            continue
        arguments = (f"PYTHON={name}", "ARGS=--ignore=tests/test_readme.py")
        seconds, output = _make(clone, cache / name, "test", *arguments)
        summary = output.strip().splitlines()[-1].strip("= ").partition(" in ")[0]
        runs[name] = {"seconds": seconds, "summary": summary}
    return {"by_python": runs}


def _works(python: str) -> bool:
    """Tell whether that Python is there; pyenv has commands for some that are not active."""
    found = shutil.which(python)
    return found is not None and subprocess.run([found, "-c", ""], check=False).returncode == 0


def measure_crosscheck() -> dict[str, Any]:
    """Check both fast backends against naive, in this process."""
    results: dict[str, Any] = {"cases": CASES, "worst": {}, "failed": {}}
    for backend in ("numpy", "numba"):
        print("cross-check of", backend, file=sys.stderr, flush=True)
        report = kernels.check_backend(backend, cases=CASES)
        results["worst"][backend] = {o.operation: o.worst for o in report.operations}
        results["failed"][backend] = sum(len(o.failures) for o in report.operations)
    return results


def measure_kills() -> dict[str, Any]:
    """Kill trainings and resume them; return the last tally, even if bits differed."""
    print("kills", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "tests.robustness.kill_and_resume", "--kills", str(KILLS)]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    tally: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return tally
