"""Kernels called from several threads and processes at once, and after a fork."""

from __future__ import annotations

import os

import pytest

from tests.robustness.processes import run

LAYERS = ["omp", "workqueue"]
"""Of Numba: the one it takes here, and its last resort, which cannot be called concurrently."""

THREADS_AT_ONCE = """
import threading
from tests.robustness.workload import calls, digests, digest
dtypes = ["float32", "float64"] * 4
together = threading.Barrier(8)
found = [[] for _ in dtypes]

def work(number):
    mine = calls(dtypes[number], size=number)
    together.wait()
    for _ in range(REPEATS):
        for name, call in mine.items():
            found[number].append((name, digest(call())))

threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for number, results in enumerate(found):
    wanted = digests(dtypes[number], size=number)
    assert len(results) == REPEATS * len(wanted)
    wrong = {name for name, got in results if got != wanted[name]}
    assert not wrong, (number, wrong)
print("right")
"""


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_eight_threads_with_different_shapes(layer):
    """The first calls load the code; all results are those of one call after the other."""
    code = THREADS_AT_ONCE.replace("REPEATS", "5")
    out, _ = run(code, CNN_KERNELS_BACKEND="numba", NUMBA_THREADING_LAYER=layer)
    assert out == "right\n"


FORKED = {
    "fork": """
child = os.fork()
if child == 0:
    os._exit(0 if digests("float32") == wanted else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
    "fork of a fork": """
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if digests("float32") == wanted else 1)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
    "pool": """
import multiprocessing
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map(digests, ["float32"] * 6) == [wanted] * 6
""",
    "loky": """
from joblib import Parallel, delayed
calls = [delayed(digests)("float32")] * 4
assert Parallel(n_jobs=2, backend="loky")(calls) == [wanted] * 4
""",
    "joblib threads": """
from joblib import Parallel, delayed
def nested():
    return Parallel(n_jobs=2, backend="threading")([delayed(digests)("float32")] * 2)
assert Parallel(n_jobs=3, backend="threading")([delayed(nested)()] * 6) == [[wanted] * 2] * 6
""",
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize(
    ("way", "layer"),
    [*((way, "omp") for way in FORKED), ("fork", "workqueue"), ("joblib threads", "workqueue")],
)
def test_children_and_nested_callers_compute_the_same(way, layer):
    """The parent computes before, with its threads, and after."""
    code = f"""
import os
from tests.robustness.workload import digests
wanted = digests("float32")
{FORKED[way]}
assert digests("float32") == wanted
print("right")
"""
    out, _ = run(code, CNN_KERNELS_BACKEND="numba", NUMBA_THREADING_LAYER=layer)
    assert out == "right\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("loaded", ["before the fork", "in the child"])
def test_fork_after_threads_that_others_started(loaded):
    """A user's own Numba function ran in the parent, no kernel did."""
    code = """
import os, numba, numpy as np, kernels

@numba.njit(parallel=True)
def users(x):
    for i in numba.prange(len(x)):
        x[i] = 1

users(np.zeros(1000))
child = os.fork()
if child == 0:
    y = kernels.relu(np.linspace(-1, 1, 99999), backend="numba")
    os._exit(0 if y.min() == 0 and y.max() == 1 else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, status
"""
    load = "import kernels.backends.numba" if loaded == "before the fork" else ""
    run(f"{load}\n{code}")
