"""Both algorithms for 3×3 convolutions beside the cost model: ``python -m bench.winograd``.

Two processes, one that computes everything directly and one that takes Winograd's algorithm
wherever it fits, take turns on each pass. Names of cases may be given; else all that fit are
measured. ``--grid`` measures only what lies where the choice changes: few channels, many channels
on few pixels, single images. ``ratio`` is the direct time over Winograd's, ``model`` the same of
the model's cycles.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

import kernels
from bench import cases
from bench.case_types import BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD, ConvCase
from bench.neighbours import conv
from kernels.backends.numba import choosing, winograd_cost
from kernels.geometry import ConvGeometry
from kernels.ops import windows

TURNS, TURN_SECONDS, FASTEST = 3, 0.06, 3
FLOAT = np.dtype(np.float32)
DIRECT, WINOGRAD = "direct", "winograd"
CHANNELS_AND_PIXELS = (
    *((32, C, 28, O) for C, O in ((3, 16), (3, 64), (4, 32), (8, 8), (8, 16), (16, 8), (16, 16))),
    *((8, C, size, C) for C, size in ((256, 14), (256, 7), (512, 7), (512, 4), (1024, 7))),
    *((32, C, size, C) for C, size in ((128, 14), (256, 7), (512, 7))),
    *((1, C, size, C) for C, size in ((16, 56), (32, 28), (64, 28), (64, 14), (64, 7))),
    *((1, C, size, C) for C, size in ((128, 28), (128, 14), (256, 14), (256, 7), (512, 14))),
)
GRID = tuple(conv(N, C, size, O, 3) for N, C, size, O in CHANNELS_AND_PIXELS)
CASES = {
    case.id: case
    for suite in (*cases.SUITES.values(), GRID)
    for case in suite
    if isinstance(case, ConvCase)
}


def _geometry(case: ConvCase) -> ConvGeometry:
    return windows.convolution(case.x_shape, case.weight_shape, **case.window)


def _cycles(geometry: ConvGeometry) -> dict[str, tuple[float, float] | None]:
    return {
        FORWARD: choosing.forward_plan(geometry, FLOAT).cycles,
        BACKWARD_INPUT: choosing.backward_plan(geometry, FLOAT).cycles,
        BACKWARD_WEIGHT: choosing.weight_plan(geometry, FLOAT).cycles,
    }


def _call(case: ConvCase, name: str) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    shapes = case.x_shape, case.weight_shape, case.y_shape
    x, weight, grad_y = (rng.standard_normal(shape).astype(FLOAT) for shape in shapes)
    # Channels last, as everything inside a network is.
    x, grad_y = (np.moveaxis(np.moveaxis(a, 1, 3).copy(), 3, 1) for a in (x, grad_y))
    window = case.window | {"backend": "numba"}
    calls: dict[str, Callable[[], object]] = {
        FORWARD: lambda: kernels.conv2d(x, weight, **window),
        BACKWARD_INPUT: lambda: kernels.conv2d_backward_input(grad_y, weight, x.shape, **window),
        BACKWARD_WEIGHT: lambda: kernels.conv2d_backward_weight(grad_y, x, weight.shape, **window),
    }
    return calls[name]


def _work(algorithm: str) -> None:
    """Time what stdin names, turn by turn; the mean of the fastest calls goes to stdout."""
    cycles = (0.0, 1.0) if algorithm == DIRECT else (1.0, 0.0)
    for model in ("gather_cycles", "weight_cycles"):
        setattr(winograd_cost, model, lambda *sizes: cycles)
        setattr(winograd_cost, f"{model}_at_once", lambda *sizes: cycles)
    known: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        if line not in known:
            known = {line: _call(CASES[line.split()[0]], line.split()[1])}
            known[line]()
        seconds: list[float] = []
        end = time.perf_counter() + TURN_SECONDS
        while len(seconds) < FASTEST or time.perf_counter() < end:
            start = time.perf_counter()
            known[line]()
            seconds.append(time.perf_counter() - start)
        print(np.mean(sorted(seconds)[:FASTEST]), flush=True)


def _start(algorithm: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.winograd", "--worker", algorithm]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def _ask(worker: subprocess.Popen[str], item: str) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(item, file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


def _compare(names: Sequence[str]) -> None:
    print(f"{'case':<26} {'pass':<16} {'direct':>9} {'Winograd':>9} {'ratio':>6} {'model':>6}")
    with _start(DIRECT) as direct, _start(WINOGRAD) as winograd:
        for name in names:
            for pass_name, cycles in _cycles(_geometry(CASES[name])).items():
                if cycles is None:
                    continue
                item = f"{name} {pass_name}"
                times = [(_ask(direct, item), _ask(winograd, item)) for _ in range(TURNS)]
                one, other = np.min(times, axis=0)
                lost = max(one, other) / min(one, other) - 1
                right = (cycles[1] < cycles[0]) == (other < one)
                print(
                    f"{name:<26} {pass_name:<16} {one * 1e3:>6.2f} ms {other * 1e3:>6.2f} ms "
                    f"{one / other:>6.2f} {cycles[0] / cycles[1]:>6.2f}"
                    + ("" if right else f"  wrong by {lost:.0%}"),
                    flush=True,
                )


def main() -> None:
    """Print the table, or be one of the two processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.winograd", description=__doc__)
    parser.add_argument("case", nargs="*", help="names of cases (all 3×3 of stride 1)")
    parser.add_argument("--grid", action="store_true", help="what lies where the choice changes")
    parser.add_argument("--worker", choices=(DIRECT, WINOGRAD), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(options.worker)
        return
    if options.case and options.grid:
        parser.error("either cases or --grid")
    unknown = [name for name in options.case if name not in CASES]
    if unknown:
        parser.error(f"case must be among {', '.join(CASES)}; got {unknown[0]}")
    chosen = options.case or [case.id for case in GRID if options.grid]
    _compare(chosen or [n for n, c in CASES.items() if winograd_cost.fits(_geometry(c))])


if __name__ == "__main__":
    main()
