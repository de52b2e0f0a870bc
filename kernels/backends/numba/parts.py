"""Functions that are built into others: Numba's work on each of them is done once, in those.

Left alone, Numba optimizes every function and makes machine code of it. But what only jitted code
calls is built into its callers, where all of that is done again, level by level. The first training
step of the MNIST CNN took 24 s of one core so, and 14 without; the machine code is a quarter
smaller, since loops are no longer unrolled at each level, and as fast.

This builds on what Numba does not document: with a version that it was not tried with, all is
compiled as Numba does it.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

TRIED = ("0.68",)
"""Versions of Numba."""


class LeanCompiler(Compiler):
    """Numba's compiler without the passes for what is not used here: 6 % of the time."""

    _UNUSED = frozenset(
        {
            "WithLifting",
            "InlineClosureLikes",
            "RewriteDynamicRaises",
            "MakeFunctionToJitFunction",
            "InlineInlinables",
            "FindLiterallyCalls",
            "LiteralUnroll",
            "LiteralPropagationSubPipelinePass",
            "InlineOverloads",
            "NopythonRewrites",
            "NoPythonSupportedFeatureValidation",
            "DumpParforDiagnostics",
        }
    )

    def define_pipelines(self) -> list[Any]:
        """Leave the unused passes out."""
        (manager,) = super().define_pipelines()
        manager.passes = [step for step in manager.passes if step[0].__name__ not in self._UNUSED]
        manager.finalize()
        return [manager]


class PartCompiler(LeanCompiler):
    """Compiles a function that only other jitted functions call."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *rest: Any) -> None:
        library = library or Part(target_context.codegen(), "part")
        super().__init__(typing_context, target_context, library, *rest)


class Part(JITCodeLibrary):
    """LLVM code of a function, and no machine code."""

    _linked: Any = None

    def finalize(self) -> None:
        """Only list the libraries that it needs, each after those that itself needs."""
        self._needed: dict[Any, None] = {}
        for library in self._linking_libraries:
            self._reload_init.update(library._reload_init)
            self._needed.update(getattr(library, "_needed", {}))
            self._needed[library] = None
        for function in self._final_module.functions:
            if (
                not function.is_declaration
                and function.linkage == llvmlite.binding.Linkage.external
            ):
                function.linkage = "linkonce_odr"  # may be defined in several that are linked
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        self._ensure_finalized()
        if self._linked is None:
            self._linked = self._final_module.clone()
            # From callers to what they call: the linker leaves out what nobody has asked for.
            for library in reversed(self._needed):
                own = isinstance(library, Part)
                module = library._final_module if own else library._get_module_for_linking()
                self._linked.link_in(module, preserve=True)
        return self._linked

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0, as for any function that is not there."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """Itself: is asked for only to be told of the environment."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: an environment belongs to machine code."""


IS_TRIED = numba.__version__.startswith(tuple(f"{version}." for version in TRIED))

FOR_PARTS: dict[str, Any] = {"pipeline_class": PartCompiler} if IS_TRIED else {}
"""For functions that only other jitted functions call: what ``numba.njit`` is to be told."""

FOR_TASKS: type[Compiler] = LeanCompiler if IS_TRIED else Compiler
"""The compiler for all else."""
