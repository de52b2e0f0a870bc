"""Drawn cases against PyTorch: the cross-check's own drawing and tolerance, another reference.

All of them with ``--all-cases``, else a fixed tenth, the first. A failure prints the command that
runs its case again.
"""

from __future__ import annotations

import pytest

from kernels.crosscheck.operations import OPERATIONS
from kernels.crosscheck.running import drawn, faults
from tests.conformance.tally import Tally
from tests.conformance.torch_reference import PARTS, reference

SEED = 20_260_000  # not the cross-check's: other cases than those that run anyway

FAMILIES = {
    "convolution": (
        "conv2d",
        "conv2d_backward",
        "conv2d_backward_input",
        "conv2d_backward_weight",
    ),
    "max-pooling": ("max_pool2d", "max_pool2d_backward"),
    "average-pooling": (
        "avg_pool2d",
        "avg_pool2d_backward",
        "global_avg_pool2d",
        "global_avg_pool2d_backward",
    ),
    "batch-norm": (
        "batch_norm",
        "batch_norm_backward",
        "batch_norm_inference",
        "batch_norm_inference_backward",
    ),
    "linear": ("linear", "linear_backward"),
    "ReLU": ("relu", "relu_backward"),
    "softmax and loss": ("softmax", "log_softmax", "softmax_cross_entropy"),
}

CASES, NAIVE_CASES, TENTH = 2000, 100, 10
"""Cases of each operation; a family has at least as many."""

SHOWN = 3
"""Failures of an operation that are printed."""

TEST = "tests/conformance/test_random.py"


def _numbers(config: pytest.Config, backend: str) -> range:
    if config.option.case is not None:
        return range(config.option.case, config.option.case + 1)
    cases = NAIVE_CASES if backend == "naive" else CASES
    return range(cases if config.option.all_cases else cases // TENTH)


def _fault(operation: str, number: int, backend: str) -> str:
    case = drawn(operation, SEED, number)
    return next((f for _, f in faults(operation, case, backend, reference) if f), "")


@pytest.mark.parametrize(
    ("family", "operation"),
    [
        pytest.param(family, operation, id=operation)
        for family, members in FAMILIES.items()
        for operation in members
    ],
)
def test_random_cases(
    family: str, operation: str, backend: str, tally: Tally, pytestconfig: pytest.Config
) -> None:
    row = tally.row(f"random cases against PyTorch: {family}", backend)
    failures = []
    for number in _numbers(pytestconfig, backend):
        fault = _fault(operation, number, backend)
        if fault:
            row.failed += 1
            again = (
                "python -m pytest "
                f'"{TEST}::test_random_cases[{backend}-{operation}]" --case {number}'
            )
            failures.append(f"case {number}: {fault}; again: {again}")
        else:
            row.passed += 1
    assert not failures, f"{len(failures)} cases failed\n" + "\n".join(failures[:SHOWN])


def test_every_operation_is_in_a_family() -> None:
    members = [operation for family in FAMILIES.values() for operation in family]
    assert sorted(members) == sorted(OPERATIONS) == sorted(PARTS)
