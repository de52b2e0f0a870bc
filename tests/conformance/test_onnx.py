"""The tests of ``onnx.backend.test``, which come with the onnx package.

Node tests, made from fixed seeds, and those models exported from PyTorch that are a single node.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from tests.conformance import onnx_adapter
from tests.conformance.onnx_exceptions import OUT_OF_SCOPE
from tests.conformance.tally import Tally


@dataclass(frozen=True)
class Example:
    """A node, the tensors that are named in it, and what comes out."""

    suite: str
    node: onnx.NodeProto
    data: list[tuple[dict[str, Any], list[Any]]]
    rtol: float
    atol: float


def _node_tests() -> dict[str, Example]:
    """Return the cases that consist of one node of an operator that the adapter knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cases of other operators overflow
        cases = load_model_tests(kind="node")
    found = {}
    for case in cases:
        graph = case.model.graph
        if _is_ours(graph):
            names = [value.name for value in graph.input]
            data = [
                (dict(zip(names, inputs, strict=True)), list(outputs))
                for inputs, outputs in case.data_sets
            ]
            found[case.name] = Example("ONNX node tests", graph.node[0], data, case.rtol, case.atol)
    return found


def _exported_models() -> dict[str, Example]:
    """Return the models that consist of one such node and weights."""
    found = {}
    cases = load_model_tests(kind="pytorch-converted")
    for case in sorted(cases, key=lambda case: case.name):
        folder = Path(case.model_dir)
        graph = onnx.load(folder / "model.onnx").graph
        if _is_ours(graph):
            weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
            names = [value.name for value in graph.input if value.name not in weights]
            data = [
                (
                    weights | dict(zip(names, _tensors(d, "input"), strict=True)),
                    _tensors(d, "output"),
                )
                for d in sorted(folder.glob("test_data_set_*"))
            ]
            suite = "ONNX models exported from PyTorch"
            found[case.name] = Example(suite, graph.node[0], data, case.rtol, case.atol)
    return found


def _is_ours(graph: onnx.GraphProto) -> bool:
    return len(graph.node) == 1 and graph.node[0].op_type in onnx_adapter.OPERATORS


def _tensors(folder: Path, kind: str) -> list[Any]:
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


CASES = _node_tests() | _exported_models()


def _run(example: Example) -> None:
    node = example.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert example.data
    for tensors, expected in example.data:
        inputs = [tensors[name] for name in node.input]
        got = onnx_adapter.run(node.op_type, attributes, inputs, len(expected))
        for value, wanted in zip(got, map(np.asarray, expected), strict=True):
            assert (value.shape, value.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(value, wanted, example.rtol, example.atol)


@pytest.mark.parametrize("name", CASES)
def test_example(name: str, backend: str, tally: Tally) -> None:
    example = CASES[name]
    tally.check(example.suite, backend, OUT_OF_SCOPE.get(name), lambda: _run(example))


def test_every_listed_case_exists() -> None:
    assert set(OUT_OF_SCOPE) <= set(CASES)


def test_every_operator_has_cases() -> None:
    assert {example.node.op_type for example in CASES.values()} == set(onnx_adapter.OPERATORS)
