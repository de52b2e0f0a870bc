"""What only the Numba backend promises: tiles, plans, threads, processes, its cache."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.types import CPointer, StarArgTuple, boolean, float32, int64, none, uint8

import kernels
from kernels.backends.numba import (
    axes,
    cache,
    jit,
    maxima,
    parts,
    plan,
    plan_weights,
)
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.geometry import Axis, output_size
from kernels.ops import windows

ROOT = Path(__file__).parents[2]
LANES = REGISTER_BYTES // 4

WINDOW = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

AXES = [
    Axis(size, kernel, stride, dilation, before, after, outputs)
    for size, kernel, stride, dilation, before, after in itertools.product(
        (1, 2, 5, 8), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3), (0, 1, 3), (0, 2)
    )
    if (outputs := output_size(size, kernel, stride, dilation, before, after)) > 0
]


def test_gathers_in_both_directions_are_the_same_pairs():
    """Forward and backward connect the same output, tap and input, each exactly once."""
    assert len(AXES) > 300
    for axis in AXES:
        wanted = sorted(
            (i, k, i * axis.stride + k * axis.dilation - axis.before)
            for i in range(axis.outputs)
            for k in range(axis.kernel)
            if 0 <= i * axis.stride + k * axis.dilation - axis.before < axis.size
        )
        forward = [(target, k, source) for target, k, source in _pairs(axes.forward_gather(axis))]
        backward = [(source, k, target) for target, k, source in _pairs(axes.backward_gather(axis))]
        assert sorted(forward) == wanted, axis
        assert sorted(backward) == wanted, axis


def _pairs(gather):
    for phase in gather.phases:
        targets = range(phase.first, gather.target_size, gather.target_step)
        for i, target in enumerate(targets):
            for tap, shift in phase.taps:
                source = i * gather.source_step + shift
                assert 0 <= source - gather.low < gather.scratch(gather.target_size)
                if 0 <= source < gather.source_size:
                    yield target, tap, source


def test_set_num_threads_leaves_numbas_setting_alone():
    code = """
import kernels, numba, numpy as np
before = numba.get_num_threads()
kernels.set_num_threads(1)
assert kernels.get_num_threads() == 1
kernels.relu(np.ones(99999), backend="numba")
assert numba.get_num_threads() == before
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_most_threads_there_can_be(monkeypatch):
    """What NUMBA_NUM_THREADS says, else the CPUs that this process may use, else all."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert kernels.get_num_threads() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)), raising=False)
    for text in ("", "0", "many"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", text)
        assert kernels.get_num_threads() == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    assert kernels.get_num_threads() == os.cpu_count()


@pytest.mark.parametrize("n", [0, -1, 10**6])
def test_impossible_number_of_threads(n):
    with pytest.raises(kernels.ShapeError, match="n must be"):
        kernels.set_num_threads(n)


def test_cache_folder_depends_on_every_source(tmp_path, monkeypatch):
    sources = Path(cache.__file__).parent
    for source in sources.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))

    def folder():
        cache.cache_folder.cache_clear()
        return cache.cache_folder()

    try:
        before = folder()
        assert folder() == before
        for source in sorted(tmp_path.glob("*.py")):
            source.write_text(source.read_text() + "\n# edited\n")
            after = folder()
            assert after != before
            before = after
    finally:
        monkeypatch.undo()
        cache.cache_folder.cache_clear()


@pytest.mark.compiled
def test_what_others_are_built_of_is_not_compiled_by_itself():
    """But for versions of Numba that this was not tried with: they compile as they do."""

    @jit.serial
    def twice(number):
        return 2 * number

    @jit.serial
    def four_times(number):
        return twice(twice(number))

    @numba.njit
    def run(number):
        return four_times(number) + twice(number)

    assert run(7) == 42
    for function in (twice, four_times):
        (code,) = function.overloads.values()
        engine = code.target_context.codegen()._engine
        assert engine.is_symbol_defined(code.fndesc.llvm_func_name) != parts.IS_TRIED


@pytest.mark.compiled
def test_inner_loops_neither_count_references_nor_spill():
    floats, whole, flag = CPointer(float32), CPointer(int64), boolean
    signature = (
        *(floats, none, floats, floats, CPointer(uint8)),
        *((int64,) * 7),
        *(whole, int64, flag, flag),
    )

    @numba.njit
    def run(*arguments):
        maxima._maxima_of_pairs(*arguments)

    run.compile((StarArgTuple(signature),))
    for code in run.inspect_asm().values():
        assert "NRT_incref" not in code
        assert "NRT_decref" not in code
        if REGISTER_BYTES == 64:
            comparisons = [line for line in code.splitlines() if "\tvcmp" in line]
            assert comparisons
            assert all("zmm" in line and "(%rsp)" not in line for line in comparisons)


def test_without_jit_the_plain_twins_give_the_same_numbers():
    code = """
import kernels, numpy as np
from kernels.backends.numba import vector_plain
assert kernels.backends.numba.vector.load is vector_plain.load
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((5, 3, 3, 3))
pairs, filters = rng.standard_normal((2, 10, 5, 4)), rng.standard_normal((15, 2, 3, 3))
def everything(backend):
    with kernels.use_backend(backend):
        y = kernels.conv2d(x, w, padding=1, stride=2)
        grouped = kernels.conv2d(pairs, filters, groups=5)
        norm = kernels.batch_norm(y, None, None)
        pool = kernels.max_pool2d(x, 2)
        rows = kernels.relu(x).reshape(2, -1)
        logits = kernels.linear(rows, np.ones((3, 60)))
        return [*kernels.conv2d_backward(y, x, w, padding=1, stride=2), *norm, *pool, grouped,
                *kernels.conv2d_backward(grouped, pairs, filters, groups=5),
                kernels.batch_norm_backward(y, y, np.ones(5), norm.mean, norm.rstd)[0],
                kernels.max_pool2d_backward(*pool, x.shape), kernels.softmax(logits),
                kernels.softmax_cross_entropy(logits, np.array([0, 2]))[1]]
for a, b in zip(everything("numba"), everything("naive"), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize(
    ("x_shape", "weight_shape"),
    [((5, 70, 5, 6), (300, 70, 3, 3)), ((5, 600, 5, 4), (256, 600, 1, 1))],
    ids=["last-part-narrower", "pixels-apart"],
)
def test_weight_gradients_whose_sums_are_parted(x_shape, weight_shape):
    """Tasks do some of the source channels; the last of them fewer, which is no whole vector."""
    rng = np.random.default_rng(0)
    geometry = windows.convolution(x_shape, weight_shape, 2, 1, 1, 1)
    parted = plan_weights.weight_plan(geometry, LANES).shape[0]
    assert parted["parts"] > 1
    assert parted["source_channels"] % parted["part_channels"] % LANES != 0
    x, grad_y = (rng.standard_normal(s).astype("float32") for s in (x_shape, geometry.y_shape))
    window = {"stride": 2, "padding": 1}
    found, wanted = (
        kernels.conv2d_backward_weight(grad_y, x, weight_shape, backend=name, **window)
        for name in ("numba", "numpy")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("channels", "window", "settings", "unused"),
    [
        (1, (3, 3), dict(padding=1), 3),
        (1, (3, 3), dict(padding=0), 3),
        (1, (5, 5), dict(padding=2, stride=(1, 2)), 5),
        (3, (3, 3), dict(padding=1, stride=2), 3),
        (3, (2, 4), dict(padding=(0, 1)), 0),
        (3, (3, 3), dict(padding=2, dilation=(1, 2)), None),
        (1, (4, 1), dict(padding=1), None),
        (6, (3, 3), dict(padding=2, dilation=2), 0),
    ],
)
def test_weight_gradients_in_pairs_of_terms(channels, window, settings, unused, dtype):
    """With terms without use where a window's rows are odd; None where terms are not paired."""
    rng = np.random.default_rng(0)
    x_shape, weight_shape = (3, channels, 9, 10), (5, channels, *window)
    geometry = windows.convolution(
        x_shape,
        weight_shape,
        *(settings.get(name, usual) for name, usual in WINDOW.items()),
    )
    chosen = plan_weights.weight_plan(geometry, LANES).shape[0]
    assert (int(chosen["unused"]) if chosen["paired"] else None) == unused
    x, grad_y = (rng.standard_normal(s).astype(dtype) for s in (x_shape, geometry.y_shape))
    x[:, :, -1, -1] = np.inf  # behind which terms without use would be
    found, wanted = (
        kernels.conv2d_backward_weight(grad_y, x, weight_shape, backend=name, **settings)
        for name in ("numba", "naive")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_small_images_go_together():
    """Tiles have pixels of several images; the last images of all are fewer."""
    rng = np.random.default_rng(0)
    x_shape, weight_shape = (37, 8, 7, 7), (40, 8, 3, 3)
    geometry = windows.convolution(x_shape, weight_shape, 2, 1, 1, 1)
    chunk = plan.forward_plan(geometry, LANES).chunk
    assert chunk > 1
    assert x_shape[0] % chunk != 0
    x, weight = (rng.standard_normal(s).astype("float32") for s in (x_shape, weight_shape))
    found, wanted = (
        kernels.conv2d(x, weight, stride=2, padding=1, backend=name) for name in ("numba", "numpy")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "window"),
    [
        ((2, 1, 6, 14), (9, 1, 3, 3), dict(padding=1)),
        ((3, 3, 9, 12), (20, 3, 7, 7), dict(stride=2, padding=3)),
        ((2, 2, 5, 12), (7, 2, 2, 2), dict(stride=(1, 3))),
        ((2, 1, 6, 37), (9, 1, 5, 5), dict(padding=2)),
        ((2, 1, 5, 29), (9, 1, 5, 5), dict(stride=3, padding=2)),
        ((2, 3, 4, 7), (5, 3, 3, 5), dict(stride=2, padding=(1, 4))),
        ((2, 1, 7, 23), (80, 1, 3, 3), dict(padding=1)),
    ],
    ids=[
        *("one-channel", "stride", "columns-without-taps", "rest", "rest-stride", "rest-padding"),
        "rest-blocks",
    ],
)
def test_neighbours_that_share_a_vector(x_shape, weight_shape, window, dtype):
    """Few target channels: pixels side by side are one with more channels and a wider window."""
    rng = np.random.default_rng(0)
    options = dict(stride=1, padding=0, dilation=1) | window
    geometry = windows.convolution(x_shape, weight_shape, groups=1, **options)
    lanes = plan.lanes_of(np.dtype(dtype))
    assert plan.backward_plan(geometry, lanes).neighbours > 1
    grad_y, weight = (
        rng.standard_normal(s).astype(dtype) for s in (geometry.y_shape, weight_shape)
    )
    found, wanted = (
        kernels.conv2d_backward_input(grad_y, weight, x_shape, backend=name, **options)
        for name in ("numba", "numpy")
    )
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
