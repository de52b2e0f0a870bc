"""The named cases: their ids, shapes and work."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cnn
import kernels
from bench import cases, contestants, selection
from bench.case_types import ConvCase, PoolCase
from bench.contestants import backends

EVERY = [case for table in cases.SUITES.values() for case in table]
WINDOWED = [case for case in EVERY if isinstance(case, ConvCase | PoolCase)]


def test_ids_are_unique_and_those_of_the_quick_suite_exist():
    ids = [case.id for case in EVERY]
    assert len(set(ids)) == len(ids)
    assert set(cases.QUICK) | set(cases.THREAD_SCALING) <= set(ids)


@pytest.mark.parametrize("case", WINDOWED, ids=lambda case: case.id)
def test_shape_of_the_result_is_what_the_operation_gives(case):
    none = np.zeros((0, *case.x_shape[1:]), np.float32)
    if isinstance(case, ConvCase):
        weight = np.zeros(case.weight_shape, np.float32)
        y = kernels.conv2d(none, weight, backend="numpy", **case.window)
    else:
        y = kernels.max_pool2d(none, backend="numpy", **case.window).y
    assert y.shape[1:] == case.y_shape[1:]


def test_work_by_hand():
    conv = selection.case("mnist-conv2-b32")
    assert conv.flops("forward") == 2 * 32 * 28 * 28 * 32 * 9 * 16
    assert conv.bytes("forward") == 4 * (32 * 16 * 28 * 28 + 32 * 16 * 9 + 32 * 32 * 28 * 28)
    depthwise = selection.case("mobilenet-dw128-s2-b8")
    assert depthwise.flops("forward") == 2 * 8 * 128 * 28 * 28 * 9
    linear = selection.case("mnist-fc2-b32")
    assert linear.flops("backward") == 2 * linear.flops("forward") == 4 * 32 * 128 * 10
    norm = selection.case("mnist-bn2-b32")
    assert norm.bytes("backward") == 3 * 4 * 32 * 32 * 28 * 28
    pool = selection.case("mnist-pool-b32")
    assert pool.bytes("forward") == 4 * 32 * 32 * (28 * 28 + 2 * 14 * 14)


def test_training_step_counts_three_products_but_not_the_gradient_of_the_images():
    first, second = 28 * 28 * 16 * 9, 28 * 28 * 32 * 9 * 16
    linear = 6272 * 128 + 128 * 10
    network = selection.case("mnist-cnn-b32")
    assert network.flops("training_step") == 2 * 32 * (2 * first + 3 * second + 3 * linear)
    assert network.flops("inference") == 2 * 32 * (first + second + linear)


@pytest.mark.parametrize("case_id", ["lenet5-b32", "resnet20-b128", "mnist-cnn-b32"])
def test_a_networks_layers_are_those_of_the_model(case_id):
    case = selection.case(case_id)
    model = cnn.models.create(case.model, input_shape=case.input_shape)
    weights = sum(p.data.size for p in model.parameters() if p.data.ndim > 1)
    shapes = [c.weight_shape if isinstance(c, ConvCase) else (c.O, c.I) for c in case.layers]
    assert sum(map(math.prod, shapes)) == weights


def test_naive_is_given_only_what_it_can_do():
    taken = [case.id for case in EVERY if contestants.takes("naive", case, case.passes[0])]
    assert "digits-conv2-b1" in taken
    assert "mnist-conv2-b32" not in taken
    assert not [case_id for case_id in taken if case_id.startswith("mnist-cnn")]


@pytest.mark.parametrize("case_id", ["digits-conv1-b2", "digits-pool-b8", "lenet5-pool2-b32"])
@pytest.mark.parametrize("name", ["numpy", "numba", "naive"])
def test_every_backend_computes_the_same(case_id, name):
    case = selection.case(case_id)
    reference = backends.prepare(case, "numpy", "float64")
    for pass_name, function in contestants.prepare(name, case, threads=1).items():
        results = contestants.arrays(function())
        expected = contestants.arrays(reference[pass_name]())
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-4)
