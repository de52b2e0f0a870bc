"""Numba's code for other CPUs than this one, as far as this one can run it."""

from __future__ import annotations

import ast
import functools
import platform
from dataclasses import dataclass

import llvmlite.binding as llvm
import pytest

from tests.robustness.processes import run

AVX2 = ("avx", "avx2", "fma", "bmi", "bmi2", "f16c")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


@dataclass(frozen=True)
class Cpu:
    """What the compiler is told, and what has to come of it."""

    name: str
    features: tuple[str, ...]
    register_bytes: int
    registers: str  # as assembly calls those of that width


CPUS = {
    "x86-64": Cpu("x86-64", (), 16, "xmm"),
    "AVX2": Cpu("haswell", AVX2, 32, "ymm"),
    "AVX-512": Cpu("skylake-avx512", AVX512, 64, "zmm"),
}

WIDTHS = """
import numba, numpy as np
from kernels.backends.numba import cpu, vector

@numba.njit
def twice(x):
    vector.store(x, 0, vector.add(vector.load(x, 0), vector.load(x, 0)))
    return vector.lanes(x)

lanes = twice(np.ones(99, "float32"))
(assembly,) = twice.inspect_asm().values()
print((cpu.REGISTER_BYTES, lanes, [r for r in ("xmm", "ymm", "zmm") if r in assembly]))
"""

PEAK = """
import re, numba, numpy as np
from kernels.backends.numba import peak

@numba.njit
def chains(x):
    peak._multiply_adds(x, 0, len(x))

x = np.full(2048, 0.5, "float32")
chains(x)
(assembly,) = chains.inspect_asm().values()
blocks = re.split(r"^\\.LBB|^\\s+j", assembly, flags=re.MULTILINE)
products = [re.findall(r"(?:vfmadd|mulps).*%(.mm[0-9]+)$", block, re.MULTILINE) for block in blocks]
loop = max(range(len(blocks)), key=lambda i: len(set(products[i])))
print((len(set(products[loop])), "(%rsp)" in blocks[loop], float(x[0])))
"""

CROSS_CHECK = """
import kernels
report = kernels.check_backend("numba", cases=CASES, seed=7, dtype=DTYPE)
assert report.passed, report
print(sum(operation.cases for operation in report.operations))
"""

TRAINING_STEP = """
import cnn, numpy as np
data = cnn.data.load("mnist-subset")
results = {}
for backend in ("numba", "numpy"):
    model = cnn.models.mnist_cnn(seed=0, dtype="float64")
    x, y = data.train.x[:32].astype("float64"), data.train.y[:32]
    loss = cnn.Trainer(model, backend=backend).step(x, y)
    results[backend] = (loss, model.state_dict())
(loss, state), (wanted_loss, wanted) = results["numba"], results["numpy"]
assert abs(loss - wanted_loss) < 1e-10
for name in wanted:
    np.testing.assert_allclose(state[name], wanted[name], rtol=1e-8, atol=1e-8)
"""


@functools.cache
def _runnable() -> set[str]:
    """Names of the variants that this machine can run."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return set()
    has = llvm.get_host_cpu_features()
    return {name for name, cpu in CPUS.items() if all(has.get(f) for f in cpu.features)}


@pytest.fixture(params=CPUS)
def environment(request):
    """Make the compiler take this machine for another one."""
    if request.param not in _runnable():
        pytest.skip(
            f"this CPU cannot run code for {request.param}: that variant is not tested here"
        )
    cpu = CPUS[request.param]
    features = ",".join(f"+{feature}" for feature in cpu.features)
    return cpu, {"NUMBA_CPU_NAME": cpu.name, "NUMBA_CPU_FEATURES": features}


def test_width_of_vectors(environment):
    """In the backend's eyes, in compiled code, and in the assembly: no wider register is used."""
    cpu, variables = environment
    size, lanes, registers = ast.literal_eval(run(WIDTHS, **variables)[0])
    assert (size, lanes) == (cpu.register_bytes, cpu.register_bytes // 4)
    assert registers[-1] == cpu.registers


def test_the_measured_peaks_sums_stay_in_registers(environment):
    """LLVM unrolled a loop over them for AMD's CPUs only: 7 GFLOP/s were a Xeon's "peak"."""
    _, variables = environment
    sums, spilled, result = ast.literal_eval(run(PEAK, **variables)[0])
    assert (sums, spilled) == (12, False)
    assert result == pytest.approx(1)


@pytest.mark.long
def test_cross_check(environment, dtype):
    _, variables = environment
    code = CROSS_CHECK.replace("CASES", "30").replace("DTYPE", repr(dtype))
    assert int(run(code, **variables)[0]) > 600


@pytest.mark.long
def test_training_step(environment):
    """Against the numpy backend's."""
    _, variables = environment
    run(TRAINING_STEP, **variables)


def test_this_machine_is_one_of_the_variants():
    """Otherwise none of the tests above says anything about it."""
    assert _runnable() or platform.machine() not in ("x86_64", "AMD64")
