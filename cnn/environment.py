"""What a result was measured with: versions, machine, and the age of this process."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_IMPORTED = time.monotonic()


class Machine(TypedDict):
    """CPU model, logical CPUs in the machine and for this process, and operating system."""

    cpu: str
    cores: int
    usable_cores: int
    os: str


def package_version() -> str:
    """Return the version of cnn-kernels; ``"0+unknown"`` where it was not installed."""
    return _version("cnn-kernels") or "0+unknown"


def versions() -> dict[str, str | None]:
    """Return the versions of Python, of this package and of what it computes with."""
    return {
        "python": platform.python_version(),
        "cnn-kernels": package_version(),
        "numpy": _version("numpy"),
        "numba": _version("numba"),
    }


def machine() -> Machine:
    """Return what this process runs on."""
    cores = os.cpu_count() or 1
    affinity = os.sched_getaffinity(0) if sys.platform == "linux" else range(cores)
    return Machine(
        cpu=_cpu_model(), cores=cores, usable_cores=len(affinity), os=platform.platform()
    )


def process_seconds() -> float:
    """Return the seconds since this process started (without /proc: since this import)."""
    try:
        status = Path("/proc/self/stat").read_text()
        started = int(status.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):
        return time.monotonic() - _IMPORTED


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
