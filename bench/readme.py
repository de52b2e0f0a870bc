"""``make readme``: measure what README.md claims, in a fresh clone, and write it there.

Clones the last commit into an empty folder and does there what the README says, with an empty
Numba cache: ``make train`` twice, once more for each further seed, ``make test``. Then the
convolution contest against PyTorch. Results go to docs/measured.json, pictures to docs/images;
README.md gets what :func:`rendered` makes of them, between its two markers.
"""

from __future__ import annotations

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

from bench import contest, convolution
from cnn import environment
from cnn.files import replacing

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MEASURED = ROOT / "docs" / "measured.json"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SEEDS = range(5)
PICTURES = ("model_graph.png", "pred.png")


def rendered(measured: dict[str, Any]) -> str:
    """Return the README's measured part as Markdown."""
    train, machine, versions = measured["train"], measured["machine"], measured["versions"]
    accuracies = train["test_accuracy_by_seed"]
    by_seed = ", ".join(f"{a:.3f}" for a in accuracies)
    return "\n".join(
        [
            BEGIN,
            "| what | measured |",
            "| --- | --- |",
            f"| test accuracy after `make train`, mean of seeds 0 to {len(accuracies) - 1} | "
            f"**{statistics.mean(accuracies):.3f}** ({by_seed}) |",
            f"| images trained on per second, `--backend numba` | "
            f"{train['images_per_second']:,.0f} |",
            f"| first `make train` ever: set-up, compilation and all | {train['cold_seconds']:.0f} "
            f"s, of it {train['compile_seconds']:.0f} s compilation |",
            f"| second `make train`, all of it | {train['warm_seconds']:.1f} s |",
            f"| second `make train`, to the first training step | "
            f"{train['warm_seconds_to_first_step']:.1f} s |",
            f"| `make test`, set-up included | {measured['test']['seconds']:.0f} s: "
            f"{measured['test']['summary']} |",
            "",
            f"One convolution, {measured['convolution']['threads']} threads, each contestant in a "
            "process of its own and in turn, medians of "
            f"{measured['convolution']['rounds']} rounds:",
            "",
            *measured["convolution"]["table"],
            "",
            f"Measured on {machine['cpu']}, {machine['usable_cores']} cores, {machine['os']}, with "
            f"Python {versions['python']}, NumPy {versions['numpy']}, Numba {versions['numba']}, "
            f"PyTorch {versions['torch']}.",
            END,
        ]
    )


def with_measured(text: str, measured: dict[str, Any]) -> str:
    """Return README text with its measured part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + rendered(measured) + after


def _make(folder: Path, cache: Path, *arguments: str) -> tuple[float, str]:
    """Run make in the clone; return its seconds and what it printed."""
    print("make", *arguments, file=sys.stderr, flush=True)
    started = time.perf_counter()
    result = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return time.perf_counter() - started, result.stdout


def _measure_clone(clone: Path, cache: Path) -> dict[str, Any]:
    def train(seed: int) -> tuple[float, dict[str, Any]]:
        seconds, _ = _make(clone, cache, "train", f"ARGS=--seed {seed}")
        return seconds, json.loads((clone / "runs/latest/metrics.json").read_text())

    cold_seconds, cold = train(0)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        shutil.copyfile(clone / "runs/latest" / picture, IMAGES / picture)
    warm_seconds, warm = train(0)
    runs = [warm, *(train(seed)[1] for seed in SEEDS[1:])]
    test_seconds, output = _make(clone, cache, "test")
    speeds = [epoch["images_per_second"] for run in runs for epoch in run["epochs"]]
    return {
        "train": {
            "test_accuracy_by_seed": [run["epochs"][-1]["test_accuracy"] for run in runs],
            "images_per_second": statistics.median(speeds),
            "cold_seconds": cold_seconds,
            "compile_seconds": cold["seconds_to_compile_or_load"],
            "warm_seconds": warm_seconds,
            "warm_seconds_to_first_step": warm["seconds_to_first_step"],
        },
        "test": {
            "seconds": test_seconds,
            "summary": output.strip().splitlines()[-1].strip("= ").partition(" in ")[0],
        },
    }


def _torch_version() -> str:
    import torch

    return str(torch.__version__)


def main() -> None:
    """Measure and publish."""
    torch_version = _torch_version()
    rounds, threads = 7, 2
    with tempfile.TemporaryDirectory() as folder:
        clone, cache = Path(folder) / "clone", Path(folder) / "cache"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        measured = _measure_clone(clone, cache)
    results = convolution.measure(rounds, threads)
    measured |= {
        "convolution": {
            "rounds": rounds,
            "threads": threads,
            "table": convolution.table(results),
            "milliseconds": {
                name: {p: contest.median(results, name, p) for p in convolution.PASSES}
                for name in convolution.CONTESTANTS
            },
        },
        "machine": environment.machine(),
        "versions": environment.versions() | {"torch": torch_version},
    }
    with replacing(MEASURED) as temporary:
        temporary.write_text(json.dumps(measured, indent=2) + "\n")
    with replacing(README) as temporary:
        temporary.write_text(with_measured(README.read_text(), measured))


if __name__ == "__main__":
    main()
