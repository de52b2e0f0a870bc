"""Numba's results have the same bits whatever the number of threads."""

from __future__ import annotations

import ast

import pytest

from kernels.crosscheck.operations import OPERATIONS
from tests.robustness import workload
from tests.robustness.processes import run

THREADS = (1, 2, 3, 8)

COMPUTE = """
import numba
from tests.robustness import workload
results = {f"{name} {dtype}": digest
           for dtype in ("float32", "float64")
           for name, digest in workload.digests(dtype).items()}
results["training run"] = workload.training_run()
print(results | {"threads": numba.get_num_threads()})
"""


def _results(prologue: str = "", **environment: str) -> dict[str, str]:
    out, _ = run(prologue + COMPUTE, CNN_KERNELS_BACKEND="numba", **environment)
    results: dict[str, str] = ast.literal_eval(out)
    return results


@pytest.mark.slow
def test_same_bits_with_any_number_of_threads():
    runs = [_results(NUMBA_NUM_THREADS=str(n)) for n in THREADS]
    assert [results.pop("threads") for results in runs] == list(THREADS)
    limited = _results("import kernels; kernels.set_num_threads(1)", NUMBA_NUM_THREADS="8")
    assert limited.pop("threads") == 8  # Numba's own setting is left alone
    assert len(limited) == 2 * len(OPERATIONS) + 1
    for name, digest in limited.items():
        assert {results[name] for results in runs} == {digest}, name


def test_the_workload_has_every_operation():
    assert workload.calls("float32").keys() == OPERATIONS.keys()
