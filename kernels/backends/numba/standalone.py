"""Functions that are compiled on their own, once for each dtype, and called by their address.

Numba builds a function into each one that calls it and compiles it anew there, at every level of
calls. The micro-kernel is called by several loop nests, some levels deep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin

from kernels.backends.numba import ahead
from kernels.backends.numba.cache import CheckedCache
from kernels.backends.numba.jit import FLAGS
from kernels.backends.numba.naming import named
from kernels.backends.numba.parts import FOR_TASKS


class Standalone:
    """Makes a function of pointers and integers callable from jitted code, by its address.

    Parameters
    ----------
    function : callable
        Returns nothing. It takes ``pointers`` pointers to elements, one to int64, then integers.
    pointers, integers : int
        How many.
    needs : callable, optional
        ``prepare`` of another one that this one calls.
    name : str, optional
        Where several functions have the same one: jitted code does not call these by name.
    alone : bool
        Nothing is compiled ahead beside it, which would disturb a measurement.
    """

    def __init__(
        self,
        function: Callable[..., None],
        pointers: int,
        integers: int,
        needs: Callable[[np.dtype[Any]], int] | None = None,
        name: str = "",
        *,
        alone: bool = False,
    ) -> None:
        self._function = named(function)
        self._alone = alone
        self._needs = needs
        self._pointers, self._integers = pointers, integers
        self._name = f"{function.__module__.rpartition('.')[2]}.{name or function.__name__}"
        self._compiled: dict[np.dtype[Any], Any] = {}
        self._addresses: dict[np.dtype[Any], int] = {}
        self._lock = threading.Lock()
        if not (numba.config.DISABLE_JIT or name):
            self._register()

    def prepare(self, dtype: np.dtype[Any]) -> int:
        """Compile for a dtype, or load what was compiled, before any caller for it is loaded.

        Returns the address; 0 without compilation.
        """
        address = self._addresses.get(dtype)
        if address is None:
            if numba.config.DISABLE_JIT:
                return 0
            with self._lock:
                if dtype not in self._addresses:
                    self._compile(dtype)
            address = self._addresses[dtype]
        return address

    def _compile(self, dtype: np.dtype[Any]) -> None:
        if not self._alone:
            ahead.start(dtype)
        if self._needs:
            self._needs(dtype)
        element = numba.from_dtype(dtype)
        signature = self._signature(element)
        compiled: Any = CFunc(
            self._function, (signature.args, types.void), {}, dict(FLAGS), FOR_TASKS
        )
        compiled._cache = CheckedCache(f"{self._name}-{dtype}")
        compiled.compile()
        llvmlite.binding.add_symbol(self._symbol(element), compiled.address)
        self._compiled[dtype], self._addresses[dtype] = compiled, compiled.address

    def _signature(self, element: Any) -> Any:
        operands = [types.CPointer(element)] * self._pointers
        return types.void(*operands, types.CPointer(types.int64), *[types.intp] * self._integers)

    def _symbol(self, element: Any) -> str:
        return f"cnn_kernels.{self._name}.{element}"

    def _register(self) -> None:
        standalone = self

        @infer_global(self._function)
        class Template(AbstractTemplate):
            key = self._function

            def generic(self, args: Any, kws: Any) -> Any:
                return standalone._signature(args[0].dtype)

        @lower_builtin(self._function, types.VarArg(types.Any))
        def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            name = standalone._symbol(signature.args[0].dtype)
            kinds = [argument.type for argument in arguments]
            function_type = ir.FunctionType(ir.VoidType(), kinds)
            function = cgutils.get_or_insert_function(builder.module, function_type, name)
            builder.call(function, arguments)
            return context.get_dummy_value()
