"""What only the Numba backend promises: tiles, plans, threads, processes, its cache."""

from __future__ import annotations

import itertools
import os
import re
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
    micro_kernel,
    parts,
    plan,
    plan_weights,
)
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.micro_kernel import NOTHING, ROWS, START, SUMS, TERMS, ZEROS
from kernels.backends.numba.vector import pointer
from kernels.geometry import Axis, output_size
from kernels.ops import windows

ROOT = Path(__file__).parents[2]
LANES = REGISTER_BYTES // 4

WINDOW = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}

# Just below, at and above each limit of a tile; 0 and 1 rows; every number of columns that matters.
EDGES = list(
    itertools.product(
        sorted({0, 1, 33, *(m + d for m in micro_kernel.TILE_ROWS for d in (-1, 0, 1))}),
        (1, LANES - 1, LANES, LANES + 1, 2 * LANES - 1, 2 * LANES),
        ((), (3,), (5, 1)),
    )
)


@numba.njit
def _multiply(c, start, a, b, table, M, V, steps, fetched, paired):
    begin, row, a_k, b_k = steps
    micro_kernel.multiply_panel(
        *(pointer(c, 0), pointer(start, 0), pointer(a, 0), pointer(b, 0)),
        *(pointer(a, 0), pointer(table, 0), row, M, V, paired, 0, fetched),
        *(begin, 2, 1, 4, a_k, 3, b_k, 0, row),
    )


@pytest.mark.parametrize(("M", "V", "lengths"), EDGES)
@pytest.mark.parametrize(("begin", "fetched"), [(ZEROS, 0), (START, 9), (SUMS, 0)])
def test_micro_kernel_at_the_edges_of_its_tiles(M, V, lengths, begin, fetched):
    rng = np.random.default_rng(0)
    a_k, b_k = 2, 2 * LANES + 1
    a, b, start, c = (rng.standard_normal(n).astype("float32") for n in (900, 9 * b_k, 2000, 2000))
    segments = np.array([(10 * i, length) for i, length in enumerate(lengths)], np.int64)
    segments = segments.reshape(-1, 2)
    # Rows in any order, at no fixed distance.
    places = np.stack((rng.permutation(800)[:M], b_k * rng.permutation(M)), axis=-1)
    wanted, k_b = c.copy(), 0
    rows = 2 + places[:, 1:] + np.arange(V)
    if begin != SUMS:
        wanted[rows] = start[1 : 1 + V] if begin == START else 0
    for offset, length in segments:
        for k in range(length):
            column = a[4 + places[:, 0] + offset + k * a_k]
            wanted[rows] += column[:, None] * b[3 + k_b * b_k :][:V]
            k_b += 1
    micro_kernel.prepare(np.dtype("float32"))
    table = np.concatenate((segments, places)).reshape(-1)
    _multiply(c, start, a, b, table, M, V, (begin, len(segments), a_k, b_k), fetched, NOTHING)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("M", sorted({M for M, _, _ in EDGES}))
@pytest.mark.parametrize("V", [1, LANES - 1, LANES])
@pytest.mark.parametrize("lengths", [(), (2,), (6, 4)])
@pytest.mark.parametrize("begin", [ZEROS, START, SUMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_one_vector_on_pairs_of_terms(M, V, lengths, begin, dtype):
    """B's rows are interleaved two by two, each 16 bytes with the other row's."""
    rng, lanes, b_k = np.random.default_rng(0), REGISTER_BYTES // np.dtype(dtype).itemsize, 40
    V = min(V, lanes)
    a, b, start, c = (rng.standard_normal(n).astype(dtype) for n in (900, 10 * b_k, 2000, 2000))
    b = b.reshape(10, b_k)
    packed = b.copy()
    for k in range(0, 10, 2):
        both = b[k : k + 2, :lanes].reshape(2, -1, 16 // b.itemsize)
        halves = both.transpose(1, 2, 0).reshape(len(both[0]), 2, -1)
        packed[k : k + 2, :lanes] = halves.transpose(1, 0, 2).reshape(2, -1)
    segments = np.array([(12 * i, length) for i, length in enumerate(lengths)], np.int64)
    segments = segments.reshape(-1, 2)
    places = np.stack((rng.permutation(800)[:M], b_k * rng.permutation(M)), axis=-1)
    wanted, row = c.copy(), 0
    rows = 2 + places[:, 1:] + np.arange(V)
    if begin != SUMS:
        wanted[rows] = start[1 : 1 + V] if begin == START else 0
    for offset, length in segments:
        for k in range(length):
            wanted[rows] += a[4 + places[:, :1] + offset + k] * b[row, :V]
            row += 1
    micro_kernel.prepare(np.dtype(dtype))
    table = np.concatenate((segments, places)).reshape(-1)
    packed = np.concatenate((np.zeros(3, dtype), packed.reshape(-1)))
    _multiply(c, start, a, packed, table, M, V, (begin, len(segments), 1, b_k), 0, TERMS)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("M", sorted({2 * M for M, _, _ in EDGES}))
@pytest.mark.parametrize("lengths", [(), (3,), (5, 2)])
@pytest.mark.parametrize("begin", [ZEROS, SUMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_one_vector_on_pairs_of_rows(M, lengths, begin, dtype):
    """A's rows lie side by side two by two; those of C anywhere."""
    rng, lanes = np.random.default_rng(0), REGISTER_BYTES // np.dtype(dtype).itemsize
    a_k, b_k = 3, lanes + 1
    a, b, c = (rng.standard_normal(n).astype(dtype) for n in (900, 9 * b_k, 4000))
    segments = np.array([(20 * i, length) for i, length in enumerate(lengths)], np.int64)
    segments = segments.reshape(-1, 2)
    firsts = np.repeat(2 * rng.permutation(400)[: M // 2], 2) + np.arange(M) % 2
    places = np.stack((firsts, b_k * rng.permutation(M)), axis=-1)
    wanted, row = c.copy(), 0
    rows = 2 + places[:, 1:] + np.arange(lanes)
    if begin == ZEROS:
        wanted[rows] = 0
    for offset, length in segments:
        for k in range(length):
            column = a[4 + places[:, :1] + offset + k * a_k]
            wanted[rows] += column * b[3 + row * b_k :][:lanes]
            row += 1
    micro_kernel.prepare(np.dtype(dtype))
    table = np.concatenate((segments, places)).reshape(-1)
    _multiply(c, c, a, b, table, M, lanes, (begin, len(segments), a_k, b_k), 0, ROWS)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


HIGHEST = micro_kernel.TILE_ROWS[0]
TILES = {
    **{f"{n}x2": micro_kernel._make_tile(n, 2) for n in micro_kernel.TILE_ROWS},
    f"{HIGHEST}x2-ahead": micro_kernel._make_tile(HIGHEST, 2, ahead=True),
    **{f"{n}-terms": micro_kernel._make_term_pair_tile(n) for n in micro_kernel.TILE_ROWS},
    **{f"{n}-rows": micro_kernel._make_row_pair_tile(n) for n in micro_kernel.TILE_ROWS},
}


@pytest.mark.compiled
@pytest.mark.skipif(REGISTER_BYTES != 64, reason="counts AVX-512 registers")
@pytest.mark.parametrize("name", TILES)
def test_the_tile_stays_in_registers(name):
    """The inner loops: full-width FMAs on distinct accumulators, and nothing stored."""
    tile, rows = TILES[name], int(re.match(r"\d+", name)[0])

    @numba.njit
    def run(c, a, b, table):
        tile(
            *(pointer(c, 0), pointer(c, 0), pointer(a, 0), pointer(b, 0), pointer(a, 0), 0),
            *(pointer(table, 0), 1, LANES, SUMS, 0, 0, 0, 1, 0, 2 * LANES, 0, 1),
        )

    operands = (np.zeros(2000, np.float32) for _ in range(3))
    run(*operands, np.zeros(4 * rows + 2, np.int64))
    (assembly,) = run.inspect_asm().values()
    loops = [block for block in _blocks(assembly) if any("vfmadd" in line for line in block)]
    sums = {line.split()[-1] for loop in loops for line in loop if "vfmadd" in line}
    assert len(sums) >= 2 * rows
    assert ("prefetch" in "".join(itertools.chain(*loops))) == name.endswith("ahead")
    for loop in loops:
        fmas = [line for line in loop if "vfmadd" in line]
        assert all("zmm" in line for line in fmas)
        assert not any("vmov" in line and line.rstrip().endswith(")") for line in loop)


def _blocks(assembly):
    """Split assembly at its labels and jumps."""
    blocks = [[]]
    for line in assembly.splitlines():
        if line.startswith(".LBB") or line.lstrip().startswith("j"):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


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
        (1, (3, 3), dict(padding=0), None),
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
    x_shape, weight_shape = (35, 8, 7, 7), (40, 8, 3, 3)
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
