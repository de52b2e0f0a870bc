"""All backends have the same operations, under the same names, parameters and defaults."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import kernels
from kernels.backends import contract
from tests.conftest import BACKENDS


def _parameters(function):
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]


OPERATIONS = contract.operations() + contract.fused_operations()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_signature_is_the_contracts(backend, operation):
    module = importlib.import_module(f"kernels.backends.{backend}")
    wanted = _parameters(getattr(contract.FusedBackend, operation))
    assert _parameters(getattr(module, operation)) == wanted


def test_backends_export_nothing_else(backend):
    module = importlib.import_module(f"kernels.backends.{backend}")
    assert sorted(module.__all__) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    "file", ["convolution", "pooling", "normalization", "dense", "activation", "loss"]
)
def test_each_backend_has_the_same_public_functions_in_the_same_order(file):
    def public(name):
        module = importlib.import_module(f"kernels.backends.{name}.{file}")
        own = {
            name: function
            for name, function in vars(module).items()
            if inspect.isfunction(function)
            and function.__module__ == module.__name__
            and not name.startswith("_")
        }
        return sorted(own, key=lambda name: own[name].__code__.co_firstlineno)

    for name in BACKENDS:
        assert public(name) == public("naive")


def test_every_public_function_of_the_ops_is_exported():
    folder = Path(kernels.__file__).parent / "ops"
    for file in folder.glob("*.py"):
        if file.stem in {"__init__", "checks", "remembering", "repeating", "windows"}:
            continue
        module = importlib.import_module(f"kernels.ops.{file.stem}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_"):
                assert getattr(kernels, name) is value
