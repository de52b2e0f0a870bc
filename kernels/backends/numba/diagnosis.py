"""What the backend found on this machine, and how it is set up: the facts behind ``doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

from kernels import threads
from kernels.backends.numba.cache import cache_folder, kept_code
from kernels.backends.numba.cpu import FUSED_MULTIPLY_ADD, REGISTER_BYTES, codegen_target
from kernels.backends.numba.explaining import explain
from kernels.backends.numba.peak import peak_gflops
from kernels.geometry import ConvGeometry

Section = tuple[str, list[str]]

SIMD = (
    *("sse2", "sse4.2", "avx", "avx2", "fma", "f16c", "neon", "sve"),
    *("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512vnni", "avx512bf16", "amx-tile"),
)
"""The features of a CPU that decide about vectors."""


def sections(geometry: ConvGeometry | None, dtype: np.dtype[Any]) -> Iterator[Section]:
    """Yield headings with their lines, one after the other, for some take a second."""
    yield "versions", _versions()
    yield "processor", _processor()
    yield "measured peak (float32 multiply-adds; lower while other processes compute)", _peak()
    yield "threads", _threads()
    yield "compiled code", _compiled()
    if geometry is not None:
        for name, lines in explain(geometry, dtype).items():
            yield f"{name}, {dtype}", lines


def _versions() -> list[str]:
    names = ("cnn-kernels", "numba", "llvmlite", "numpy")
    return [
        ", ".join(f"{name} {_version(name)}" for name in names),
        f"Python {platform.python_version()}, {platform.platform()}",
    ]


def _processor() -> list[str]:
    triple, name, features = codegen_target()
    has = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    lines = [
        f"{_model()}; {os.cpu_count()} CPUs",
        f"SIMD: {' '.join(feature for feature in SIMD if feature in has) or 'none known'}",
        f"Numba compiles for {name} ({triple})",
        f"vectors of {REGISTER_BYTES} bytes: {REGISTER_BYTES // 4} float32 or "
        f"{REGISTER_BYTES // 8} float64; multiply-add in "
        f"{'one instruction' if FUSED_MULTIPLY_ADD else 'two instructions'}",
    ]
    host = llvmlite.binding.get_host_cpu_name()
    if name != host:
        lines.append(f"this CPU is a {host}: NUMBA_CPU_NAME or NUMBA_CPU_FEATURES chose another")
    if numba.config.DISABLE_JIT:
        lines.append("NUMBA_DISABLE_JIT is set: nothing is compiled, plain Python computes")
    return lines


def _model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _peak() -> list[str]:
    if numba.config.DISABLE_JIT:
        return ["not measured without compilation"]
    lines = []
    for count in sorted({1, threads.get_num_threads()}):
        gflops = peak_gflops(count)
        lines.append(
            f"{count} thread{'s' * (count > 1)}: {gflops:.0f} GFLOP/s"
            + f", {gflops / count:.0f} each" * (count > 1)
        )
    return lines


def _threads() -> list[str]:
    try:
        layer = numba.threading_layer()
    except ValueError:
        return ["Numba's threads have not been started"]
    lines = [f"{threads.get_num_threads()} threads, by Numba's threading layer {layer!r}"]
    if layer == "workqueue":
        lines.append("calls from several Python threads wait for each other in this layer")
    return lines


def _compiled() -> list[str]:
    files = kept_code()
    size = sum(file.stat().st_size for file in files)
    folder = cache_folder()
    others = len([path for path in folder.parent.glob("*") if path.is_dir() and path != folder])
    lines = [
        f"{folder}" if folder.is_dir() else f"{folder}, not there yet",
        f"{len(files)} files, {size / 2**20:.1f} MiB; {others} folders of other sources, "
        "versions or CPUs beside it",
    ]
    if folder.is_dir() and not os.access(folder, os.W_OK):
        lines.append("the folder cannot be written: what is missing is compiled anew each time")
    if not files:
        lines.append("`python -m kernels warmup` compiles ahead")
    variants = Counter(file.name.rpartition("-")[0] for file in files)
    lines += [f"{count} × {name}" for name, count in sorted(variants.items())]
    return lines


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed" if distribution not in sys.modules else "of unknown version"
