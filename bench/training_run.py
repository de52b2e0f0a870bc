"""What a training run costs beside its steps: import, compilation, memory.

``python -m bench.training_run --contestant NAME`` trains the MNIST CNN for a few steps in a process
of its own and prints JSON. Memory is the growth of the process's peak above what it had after
importing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

from bench import contestants, turns
from bench.case_types import TRAINING_STEP

CASE_ID = "mnist-cnn-b128"
STEPS = 20
MIB = 2**20


class TrainingRun(TypedDict):
    """Seconds to import and to the end of the first step; MiB of growth above the import."""

    import_seconds: float
    first_step_seconds: float
    growth_mib: float


def measure(contestant: str, threads: int) -> TrainingRun:
    """Train in this process, which should have done nothing before."""
    started = time.perf_counter()
    if contestant in contestants.BACKENDS:
        importlib.import_module("cnn")
        importlib.import_module(f"kernels.backends.{contestant}")
    else:
        importlib.import_module("torch")
    imported = time.perf_counter()
    before = memory_bytes("VmRSS")
    from bench import selection

    step = contestants.prepare(contestant, selection.case(CASE_ID), threads)[TRAINING_STEP]
    prepared = time.perf_counter()
    step()
    first_step = time.perf_counter()
    for _ in range(STEPS - 1):
        step()
    return TrainingRun(
        import_seconds=imported - started,
        first_step_seconds=first_step - prepared,
        growth_mib=(memory_bytes("VmHWM") - before) / MIB,
    )


def measure_apart(
    contestant: str, threads: int, folder: Path, numba_cache: Path | None = None
) -> TrainingRun:
    """Train in a process of its own, with another Numba cache if one is given."""
    environment = turns.environment(threads, folder)
    if numba_cache:
        environment["NUMBA_CACHE_DIR"] = str(numba_cache)
    worker = subprocess.run(
        [
            *(sys.executable, "-m", "bench.training_run"),
            *("--contestant", contestant, "--threads", str(threads)),
        ],
        cwd=turns.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: TrainingRun = json.loads(worker.stdout)
    return result


def measure_all(names: list[str], threads: int, folder: Path) -> dict[str, TrainingRun]:
    """Measure contestants one after the other; numba also with an empty cache."""
    runs = {}
    if "numba" in names:
        cold = folder / "empty-numba-cache"
        runs["numba, empty cache"] = measure_apart("numba", threads, folder, cold)
        runs["numba, second start"] = measure_apart("numba", threads, folder, cold)
    for name in names:
        if name != "numba" and name in contestants.EAGER:
            runs[name] = measure_apart(name, threads, folder)
    return runs


def memory_bytes(what: str) -> int:
    """Return what this process has in memory: VmRSS is now, VmHWM was the most.

    ``ru_maxrss`` would not do: a process inherits it from the one that started it, here 0.5 GB.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith(f"{what}:"))
    return int(kibibytes) * 1024


def main() -> None:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.training_run", description=__doc__)
    parser.add_argument("--contestant", choices=contestants.NAMES, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    json.dump(measure(options.contestant, options.threads), sys.stdout)


if __name__ == "__main__":
    main()
