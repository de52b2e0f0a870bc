"""Backends with faults, to see that a check finds them."""

from __future__ import annotations

import types

from kernels.backends import contract
from kernels.backends import numpy as numpy_backend


def broken(**replaced) -> types.ModuleType:
    """Return the numpy backend with some functions replaced."""
    module = types.ModuleType("broken")
    for operation in contract.operations():
        setattr(module, operation, replaced.get(operation, getattr(numpy_backend, operation)))
    return module
