"""Who takes part: the backends of this project, and the peers that can be imported.

A contestant is known by name and prepares a case: it returns for each pass a function without
arguments, whose result is that of ``kernels``' function, in the same order of parts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case_types import INFERENCE, TRAINING_STEP, Case, NetworkCase

Functions = dict[str, Callable[[], Any]]

OURS = "numba"
BACKENDS = ("numpy", OURS, "naive")
TORCH = {
    "torch": "contiguous_format",
    "torch channels_last": "channels_last",
}
TORCH_COMPILE = {
    "torch.compile": "contiguous_format",
    "torch.compile channels_last": "channels_last",
}
ONNX_RUNTIME = "onnxruntime"
PEERS = (*TORCH, *TORCH_COMPILE, ONNX_RUNTIME)
NAMES = (*BACKENDS, *PEERS)
EAGER = ("numpy", OURS, *TORCH)
"""Those that run single operations of any size as well as whole networks."""

NAIVE_LIMIT = 400_000
"""Multiplications or elements of a pass that naive is given: about half a second of Python."""


@dataclass(frozen=True)
class Entrant:
    """A contestant with a number of threads."""

    name: str
    threads: int

    def __str__(self) -> str:
        return f"{self.name}@{self.threads}"


def available() -> dict[str, str | None]:
    """Return each contestant's name with None, or with what it lacks."""
    torch = _lacks("torch")
    return (
        dict.fromkeys(BACKENDS)
        | dict.fromkeys((*TORCH, *TORCH_COMPILE), torch)
        | {ONNX_RUNTIME: _lacks("onnxruntime") or _lacks("onnx")}
    )


def takes(name: str, case: Case, pass_name: str) -> bool:
    """Tell whether a contestant is made for that pass of that case."""
    network = isinstance(case, NetworkCase)
    if name == "naive":
        return not network and small_enough_for_naive(case, pass_name)
    if name == ONNX_RUNTIME:
        return network and pass_name == INFERENCE
    if name in TORCH_COMPILE:
        return network and pass_name == TRAINING_STEP
    return True


def small_enough_for_naive(case: Case, pass_name: str) -> bool:
    """Tell whether plain loops can do a pass in about half a second."""
    return max(case.flops(pass_name) // 2, case.bytes(pass_name) // 4) <= NAIVE_LIMIT


def prepare(name: str, case: Case, threads: int) -> Functions:
    """Make the inputs of a case and return its passes as functions."""
    if name in BACKENDS:
        from bench.contestants import backends

        return backends.prepare(case, name)
    if name == ONNX_RUNTIME:
        from bench.contestants import onnx_runtime

        return onnx_runtime.prepare(case, threads)
    from bench.contestants import pytorch

    layout = (TORCH | TORCH_COMPILE)[name]
    return pytorch.prepare(case, layout, threads, compiled=name in TORCH_COMPILE)


def arrays(result: Any) -> list[NDArray[Any]]:
    """Return the parts of a function's result as arrays."""
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


def _lacks(module: str) -> str | None:
    return None if importlib.util.find_spec(module) else f"{module} is not installed"
