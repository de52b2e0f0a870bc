"""``make readme``: measure what README.md claims, and write it there.

Clones the last commit into an empty folder and does there what the README says, with an empty
Numba cache: ``make train`` twice, then once for each further seed, and ``make test`` with each
Python there is. Then, in this checkout, the convolution contest against PyTorch and the
cross-check of both fast backends. Results go to docs/measured.json, pictures to docs/images;
README.md gets what :func:`rendered` makes of them, between its two markers. ``--render`` does only
that last step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kernels
from bench import convolution
from cnn import environment
from cnn.files import replacing

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MEASURED = ROOT / "docs" / "measured.json"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SEEDS = range(5)
PICTURES = ("model_graph.png", "pred.png")
PYTHONS = ("python3.11", "python3.12", "python3.13")
CASES, ROUNDS, THREADS = 3000, 7, 2


def rendered(measured: dict[str, Any]) -> str:
    """Return the README's measured part as Markdown."""
    return "\n".join(
        [
            BEGIN,
            *_training(measured["train"], measured["tests"]),
            "",
            *_convolution(measured["convolution"]),
            "",
            *_crosscheck(measured["crosscheck"]),
            "",
            _conditions(measured["machine"], measured["versions"]),
            END,
        ]
    )


def with_measured(text: str, measured: dict[str, Any]) -> str:
    """Return README text with its measured part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + rendered(measured) + after


def _training(train: dict[str, Any], tests: dict[str, Any]) -> list[str]:
    accuracies = train["test_accuracy_by_seed"]
    by_seed = ", ".join(f"{a:.3f}" for a in accuracies)
    return [
        "| what | measured |",
        "| --- | --- |",
        f"| test accuracy after `make train`, mean of seeds 0 to {len(accuracies) - 1} | "
        f"**{statistics.mean(accuracies):.3f}** ({by_seed}) |",
        f"| images trained on per second, `--backend numba` | {train['images_per_second']:,.0f} |",
        f"| first `make train` ever: set-up, compilation and all | {train['cold_seconds']:.0f} s, "
        f"of it {train['compile_seconds']:.0f} s compilation |",
        f"| second `make train`, all of it | {train['warm_seconds']:.1f} s |",
        f"| second `make train`, to the first training step | "
        f"{train['warm_seconds_to_first_step']:.1f} s |",
        *(
            f"| `make test PYTHON={name}`, set-up included | {run['seconds']:.0f} s: "
            f"{run['summary']} |"
            for name, run in tests.items()
        ),
    ]


def _convolution(results: dict[str, Any]) -> list[str]:
    return [
        f"One convolution, {results['threads']} threads, each contestant in a process of its own "
        f"and in turn, medians of {results['rounds']} rounds:",
        "",
        *results["table"],
    ]


def _crosscheck(results: dict[str, Any]) -> list[str]:
    """Return a table with a row for each operation and columns for each backend."""
    backends = list(results["worst"])
    failed = sum(results["failed"].values())
    lines = [
        f'`make crosscheck ARGS="--cases {results["cases"]}"`, random cases of each operation: '
        f"{failed} cases failed. Largest error as a share of what is allowed (0 where results have "
        "to be equal):",
        "",
        f"| operation | {' | '.join(backends)} |",
        "| --- |" + " ---: |" * len(backends),
    ]
    for operation in results["worst"][backends[0]]:
        shares = (f"{results['worst'][backend][operation]:.2f}" for backend in backends)
        lines.append(f"| {operation} | {' | '.join(shares)} |")
    return lines


def _conditions(machine: dict[str, Any], versions: dict[str, Any]) -> str:
    return (
        f"Measured on {machine['cpu']}, {machine['usable_cores']} cores, {machine['os']}, with "
        f"Python {versions['python']}, NumPy {versions['numpy']}, Numba {versions['numba']}, "
        f"PyTorch {versions['torch']}. The tests were run without `tests/test_readme.py`, which "
        "compares this page with this very measurement."
    )


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


def _measure_training(clone: Path, cache: Path) -> dict[str, Any]:
    def train(seed: int) -> tuple[float, dict[str, Any]]:
        seconds, _ = _make(clone, cache, "train", f"ARGS=--seed {seed}")
        return seconds, json.loads((clone / "runs/latest/metrics.json").read_text())

    cold_seconds, cold = train(0)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        shutil.copyfile(clone / "runs/latest" / picture, IMAGES / picture)
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


def _measure_tests(clone: Path, cache: Path) -> dict[str, Any]:
    """Run ``make test`` with each supported Python of this machine, caches empty each time."""
    runs = {}
    for name in PYTHONS:
        if not _works(name):
            continue
        arguments = (f"PYTHON={name}", "ARGS=--ignore=tests/test_readme.py")
        seconds, output = _make(clone, cache / name, "test", *arguments)
        summary = output.strip().splitlines()[-1].strip("= ").partition(" in ")[0]
        runs[name] = {"seconds": seconds, "summary": summary}
    return runs


def _works(python: str) -> bool:
    """Tell whether that Python is there; pyenv has commands for some that are not active."""
    found = shutil.which(python)
    return found is not None and subprocess.run([found, "-c", ""], check=False).returncode == 0


def _measure_crosscheck() -> dict[str, Any]:
    results: dict[str, Any] = {"cases": CASES, "worst": {}, "failed": {}}
    for backend in ("numpy", "numba"):
        print("cross-check of", backend, file=sys.stderr, flush=True)
        report = kernels.check_backend(backend, cases=CASES)
        results["worst"][backend] = {o.operation: o.worst for o in report.operations}
        results["failed"][backend] = sum(len(o.failures) for o in report.operations)
    return results


def _measure_convolution() -> dict[str, Any]:
    results = convolution.measure(ROUNDS, THREADS)
    return {"rounds": ROUNDS, "threads": THREADS, "table": convolution.table(results)}


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


def main() -> None:
    """Measure and publish, or publish what was measured before."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=__doc__)
    parser.add_argument("--render", action="store_true", help="only rewrite README.md")
    if not parser.parse_args().render:
        torch_version = _torch_version()  # first, so that a missing one is seen at once
        with tempfile.TemporaryDirectory() as folder:
            clone, cache = Path(folder) / "clone", Path(folder) / "cache"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            measured: dict[str, Any] = {
                "train": _measure_training(clone, cache),
                "tests": _measure_tests(clone, cache),
            }
        measured |= {
            "convolution": _measure_convolution(),
            "crosscheck": _measure_crosscheck(),
            "machine": environment.machine(),
            "versions": environment.versions() | {"torch": torch_version},
        }
        with replacing(MEASURED) as temporary:
            temporary.write_text(json.dumps(measured, indent=2) + "\n")
    with replacing(README) as temporary:
        text = with_measured(README.read_text(), json.loads(MEASURED.read_text()))
        temporary.write_text(text)


if __name__ == "__main__":
    main()
