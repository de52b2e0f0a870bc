"""The node tests of ``onnx.backend.test``, which the onnx package makes from fixed seeds."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from tests.conformance import onnx_adapter
from tests.conformance.onnx_exceptions import OUT_OF_SCOPE
from tests.conformance.tally import Tally

SUITE = "ONNX node tests"


def _ours() -> dict[str, tuple[TestCase, onnx.NodeProto]]:
    """Return the cases that consist of one node of an operator that the adapter knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cases of other operators overflow
        cases = load_model_tests(kind="node")
    found = {}
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in onnx_adapter.OPERATORS:
            found[case.name] = (case, nodes[0])
    return found


CASES = _ours()


def _run(case: TestCase, node: onnx.NodeProto) -> None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert case.data_sets
    for inputs, expected in case.data_sets:
        got = onnx_adapter.run(node.op_type, attributes, list(inputs), len(expected))
        for value, wanted in zip(got, map(np.asarray, expected), strict=True):
            assert (value.shape, value.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(value, wanted, case.rtol, case.atol)


@pytest.mark.parametrize("name", CASES)
def test_node(name: str, backend: str, tally: Tally) -> None:
    case, node = CASES[name]
    tally.check(SUITE, backend, OUT_OF_SCOPE.get(name), lambda: _run(case, node))


def test_every_listed_case_exists() -> None:
    assert set(OUT_OF_SCOPE) <= set(CASES)


def test_every_operator_has_cases() -> None:
    assert {node.op_type for _, node in CASES.values()} == set(onnx_adapter.OPERATORS)
