"""``python -m bench.convolution``: the MNIST network's second convolution against PyTorch.

16→32 channels, 3×3, on 28×28, batch 32, float32; forward, backward to the input, backward to the
weight. PyTorch takes part in both memory layouts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import kernels
from bench import contest
from bench.cases import MNIST_CONVOLUTIONS, ConvCase

CASE = next(case for case in MNIST_CONVOLUTIONS if case.id == "mnist-conv2-b32")
PASSES = ("forward", "backward input", "backward weight")
PEERS = {"torch channels_last": "channels_last", "torch NCHW": "contiguous_format"}
CONTESTANTS = ("numpy", "numba", *PEERS)
BASELINE = "torch channels_last"

Passes = dict[str, Callable[[], Any]]


def _arrays(case: ConvCase) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    shapes = (case.x_shape, case.weight_shape, (case.O,), (case.N, case.O, case.H, case.W))
    x, weight, bias, grad = (rng.standard_normal(s, dtype=np.float32) for s in shapes)
    return x, weight, bias, grad


def kernel_passes(case: ConvCase, backend: str) -> Passes:
    """Return the three passes on a backend of this project, on channels-last data."""
    x, weight, bias, grad = _arrays(case)
    x, grad = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, grad))
    keywords = case.window | {"backend": backend}
    return {
        "forward": lambda: kernels.conv2d(x, weight, bias, **keywords),
        "backward input": lambda: kernels.conv2d_backward_input(
            grad, weight, case.x_shape, **keywords
        ),
        "backward weight": lambda: kernels.conv2d_backward_weight(
            grad, x, case.weight_shape, **keywords
        ),
    }


def torch_passes(case: ConvCase, memory_format: str, threads: int) -> Passes:
    """Return the three passes in PyTorch."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    layout = getattr(torch, memory_format)
    x, weight, bias, grad = (torch.from_numpy(a) for a in _arrays(case))
    x, weight, grad = (a.contiguous(memory_format=layout) for a in (x, weight, grad))
    window = ([case.stride] * 2, [case.padding] * 2, [case.dilation] * 2, False, [0, 0], 1)

    def backward(mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(grad, x, weight, None, *window, mask)

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, bias, **case.window),
        "backward input": lambda: backward([True, False, False])[0],
        "backward weight": lambda: backward([False, True, False])[1],
    }


def compete(contestant: str, threads: int) -> contest.Times:
    """Check one contestant's results against the naive reference, then time it."""
    small = ConvCase("small", 2, 16, 5, 4, 32, 3, 3, padding=1)
    reference = kernel_passes(small, "naive")

    def passes(case: ConvCase) -> Passes:
        if contestant in PEERS:
            return torch_passes(case, PEERS[contestant], threads)
        return kernel_passes(case, contestant)

    for name, function in passes(small).items():
        np.testing.assert_allclose(function(), reference[name](), rtol=1e-4, atol=1e-4)
    return {name: contest.milliseconds(function) for name, function in passes(CASE).items()}


def table(rounds: list[dict[str, contest.Times]]) -> list[str]:
    """Return the results as lines of a Markdown table."""
    lines = [
        f"| {CASE.id} | " + " | ".join(f"{p}, ms" for p in PASSES) + " | "
        "forward ÷ PyTorch | backward ÷ PyTorch |",
        "| --- |" + " ---: |" * (len(PASSES) + 2),
    ]
    for name in rounds[0]:
        times = (f"{contest.median(rounds, name, p):.2f}" for p in PASSES)
        ratios = (
            f"{contest.ratio(rounds, name, BASELINE, p):.1f}" for p in ("forward", "backward")
        )
        lines.append(f"| {name} | {' | '.join(times)} | {' | '.join(ratios)} |")
    return lines


def measure(rounds: int = 7, threads: int = 2) -> list[dict[str, contest.Times]]:
    """Run the contest; ``backward`` is the sum of both backward passes."""
    results = contest.run("bench.convolution", CONTESTANTS, rounds, threads)
    for result in results:
        for times in result.values():
            times["backward"] = times["backward input"] + times["backward weight"]
    return results


def main() -> None:
    """Print the table, or as a worker one contestant's times."""
    parser = argparse.ArgumentParser(prog="python -m bench.convolution", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contestants (7)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each (2)")
    parser.add_argument("--contestant", choices=CONTESTANTS, help="time only this one, as JSON")
    options = parser.parse_args()
    if options.contestant:
        json.dump(compete(options.contestant, options.threads), sys.stdout)
    else:
        print("\n".join(table(measure(options.rounds, options.threads))))


if __name__ == "__main__":
    main()
