"""ONNX Runtime, for inference: the network as an ONNX graph with the same weights."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

from bench.case_types import INFERENCE, Case, NetworkCase
from bench.contestants import Functions, inputs

OPSET, IR_VERSION = 17, 8


def prepare(case: Case, threads: int) -> Functions:
    """Return the inference pass of a network case."""
    if not isinstance(case, NetworkCase):
        raise TypeError(f"ONNX Runtime is not given a {type(case).__name__}")
    x, _, model = inputs.network(case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph(case, model.state_dict()).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return {INFERENCE: lambda: session.run(None, {"x": x})[0]}


def graph(case: NetworkCase, state: dict[str, Any]) -> Any:
    """Return ``cnn.models.mnist_cnn`` with softmax as an ONNX model.

    The names are those of the state: layer number, then what it holds.
    """
    pads: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["h0"], **pads),
        _batch_norm("1", "h0", "h1"),
        helper.make_node("Relu", ["h1"], ["h2"]),
        helper.make_node("Conv", ["h2", "3.weight", "3.bias"], ["h3"], **pads),
        _batch_norm("4", "h3", "h4"),
        helper.make_node("Relu", ["h4"], ["h5"]),
        helper.make_node("MaxPool", ["h5"], ["h6"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["h6"], ["h7"]),
        helper.make_node("Gemm", ["h7", "8.weight", "8.bias"], ["h8"], transB=1),
        _batch_norm("9", "h8", "h9"),
        helper.make_node("Relu", ["h9"], ["h10"]),
        helper.make_node("Gemm", ["h10", "11.weight", "11.bias"], ["h11"], transB=1),
        helper.make_node("Softmax", ["h11"], ["y"], axis=1),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            case.model,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.x_shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (case.N, inputs.CLASSES))],
            [numpy_helper.from_array(a, name) for name, a in state.items() if a.dtype.kind == "f"],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    return model


def _batch_norm(layer: str, x: str, y: str) -> Any:
    parts = ("weight", "bias", "running_mean", "running_var")
    return helper.make_node("BatchNormalization", [x, *(f"{layer}.{p}" for p in parts)], [y])
