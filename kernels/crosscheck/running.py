"""Running the drawn cases and saying what came of them."""

from __future__ import annotations

import dataclasses
import inspect
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

import kernels
from kernels import capturing, dispatch, tolerance
from kernels.backends import contract
from kernels.crosscheck.cases import Case
from kernels.crosscheck.drawing import Draw
from kernels.crosscheck.fused import FUSED_OPERATIONS
from kernels.crosscheck.limits import Limit
from kernels.crosscheck.operations import OPERATIONS
from kernels.crosscheck.replaying import replayed
from kernels.ops import checks
from kernels.ops.repeating import TIMES

DEFAULT_CASES = 200


@dataclass
class OperationReport:
    """What came of one operation.

    Attributes
    ----------
    operation : str
        Its name.
    cases : int
        Cases that were run.
    worst : float
        Largest error as a share of what is allowed; ``inf`` for a difference where none is.
    failures : list of str
        For each failed case what was wrong, and the command that runs it again.
    """

    operation: str
    cases: int = 0
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.operation:<30} {self.cases:>7} {len(self.failures):>7} {self.worst:>22.3f}"


def heading() -> str:
    """Return the line above the reports."""
    return f"{'operation':<30} {'cases':>7} {'failed':>7} {'worst error / allowed':>22}"


@dataclass
class CheckReport:
    """What came of checking a backend."""

    backend: str
    seed: int
    operations: list[OperationReport] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no case of any operation failed."""
        return not any(operation.failures for operation in self.operations)

    def __str__(self) -> str:
        failures = [line for report in self.operations for line in report.failures[:3]]
        return "\n".join([heading(), *map(str, self.operations), *failures])


def check_backend(
    backend: str | ModuleType,
    *,
    operations: Sequence[str] | None = None,
    cases: int = DEFAULT_CASES,
    seed: int = 0,
    first_case: int = 0,
    dtype: str | None = None,
    progress: Callable[[OperationReport], None] | None = None,
) -> CheckReport:
    """Compare a backend with the naive reference on drawn cases, through the public interface.

    Each case is determined by operation, seed and number, whatever else is run. Errors are allowed
    up to ``kernels.tolerance.bound``; max-pooling and ReLU have to agree exactly. Each case also
    has to leave its inputs alone, and to give the same result when it is run again.

    Parameters
    ----------
    backend : str or module
        A name, or a module that fulfils ``kernels.backends.contract.Backend``.
    operations : sequence of str, optional
        Operations to check; if left out, all public ones, and the fused ones if the backend has
        them.
    cases : int
        Cases for each operation.
    seed : int
        Of the draws.
    first_case : int
        Number of the first case, to run a single one again.
    dtype : str, optional
        "float32" or "float64", to check just that; each case draws one if left out.
    progress : callable, optional
        Is given each operation's report when it is complete.

    Returns
    -------
    CheckReport
        ``print(report)`` gives a table, ``report.passed`` the verdict.

    Raises
    ------
    kernels.UnknownBackendError, kernels.ShapeError, TypeError
        If an argument does not fit, a module that is no backend included.
    """
    check_arguments(cases, seed, first_case)
    _check_names(operations, dtype)
    with dispatch.named(backend) as name:
        report = CheckReport(name, seed)
        for operation in _offered(name) if operations is None else operations:
            done = OperationReport(operation)
            for number in range(first_case, first_case + cases):
                _run(done, name, seed, number, dtype)
            report.operations.append(done)
            if progress is not None:
                progress(done)
    return report


def _check_names(operations: Sequence[str] | None, dtype: str | None) -> None:
    if dtype not in (None, "float32", "float64"):
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    known = known_operations()
    for name in operations or ():
        if name not in known:
            raise kernels.ShapeError(f"operations must be among {', '.join(known)}; got {name!r}")


def _offered(backend: str) -> tuple[str, ...]:
    """Names of the operations that a backend has: the fused ones are its choice."""
    has_fused = contract.offers_fused(dispatch.resolve(backend))
    return known_operations() if has_fused else tuple(OPERATIONS)


def known_operations() -> tuple[str, ...]:
    """Names of the operations that can be checked: the public ones, then the fused ones."""
    return (*OPERATIONS, *FUSED_OPERATIONS)


def check_arguments(cases: int, seed: int, first_case: int) -> None:
    """Check the numbers that :func:`check_backend` takes, before anything runs."""
    checks.integer("cases", cases, 1)
    checks.integer("seed", seed, 0)
    checks.integer("first_case", first_case, 0)


def _run(report: OperationReport, backend: str, seed: int, number: int, dtype: str | None) -> None:
    """Run one case and enter it into the report."""
    report.cases += 1
    case = drawn(report.operation, seed, number, dtype)
    for share, fault in faults(report.operation, case, backend):
        report.worst = max(report.worst, np.inf if np.isnan(share) else share)
        if fault:
            again = (
                f"python -m kernels check --backend {backend} --op {report.operation} "
                f"--seed {seed} --case {number}"
            )
            report.failures.append(f"{report.operation}: {fault}; again: {again}")
            return


def drawn(operation: str, seed: int, number: int, dtype: str | None = None) -> Case:
    """Draw a case; it stays the same when operations are added."""
    return draw_case(operation, Draw(seed, zlib.crc32(operation.encode()), number, dtype=dtype))


def draw_case(operation: str, draw: Draw) -> Case:
    """Draw a case from any source of arguments."""
    if operation in FUSED_OPERATIONS:
        return FUSED_OPERATIONS[operation][1](draw)
    return OPERATIONS[operation](draw)


def by_naive(operation: str, case: Case) -> tuple[Any, ...]:
    """Return what the naive backend makes of a case."""
    function = _function(operation)
    return _parts(function(*case.arguments, **case.keywords, backend="naive"))


def _function(operation: str) -> Callable[..., Any]:
    if operation in FUSED_OPERATIONS:
        return FUSED_OPERATIONS[operation][0]
    function: Callable[..., Any] = getattr(kernels, operation)
    return function


def faults(
    operation: str,
    case: Case,
    backend: str,
    reference: Callable[[str, Case], tuple[Any, ...]] = by_naive,
) -> Iterator[tuple[float, str]]:
    """Run a case; yield each part's error as a share of what is allowed, and what is wrong.

    ``reference(operation, case)`` says what is right: the parts of the result, in the case's dtype.
    """
    function = _function(operation)
    before = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case.arguments)
    try:
        got = _parts(function(*case.arguments, **case.keywords, backend=backend))
        captures = capturing.offered(backend)
        for _ in range(TIMES if captures else 1):  # the last one is repeated without a look
            again = _parts(function(*case.arguments, **case.keywords, backend=backend))
        into_out = _into_out(function, case, backend, got[0])
        repeated = replayed(function, case, backend) if captures else None
    except Exception as error:  # whatever a backend under test raises is a finding
        yield np.inf, f"raised {type(error).__name__}: {error}"
        return
    right = reference(operation, dataclasses.replace(case, arguments=before))
    for number, (value, wanted, limit) in enumerate(zip(got, right, case.limits, strict=True)):
        share, fault = _compare(value, wanted, limit)
        yield share, f"part {number} {fault}" if fault else ""
    for argument, copy in zip(case.arguments, before, strict=True):
        if isinstance(argument, np.ndarray) and not np.array_equal(argument, copy, equal_nan=True):
            yield np.inf, "an input was modified"
    for first, second in zip(got, again, strict=True):
        if first is not None and not np.array_equal(first, second, equal_nan=True):
            yield np.inf, "the same call gave another result (a race?)"
    for first, second in zip(got, () if repeated is None else _parts(repeated), strict=False):
        if first is not None and not np.array_equal(first, second, equal_nan=True):
            yield np.inf, "a replay of the captured call gave another result"
    if into_out is not None and not np.array_equal(got[0], into_out, equal_nan=True):
        yield np.inf, "the result written to out is another one"


def _into_out(function: Callable[..., Any], case: Case, backend: str, result: Any) -> Any:
    """Return the result written into an ``out`` of another layout, where the operation has one."""
    if "out" not in inspect.signature(function).parameters:
        return None
    out = np.full_like(result, np.nan)
    if out.ndim:
        out = np.flip(out)
    return function(*case.arguments, **case.keywords, out=out, backend=backend)


def _parts(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _compare(value: Any, wanted: Any, limit: Limit) -> tuple[float, str]:
    if wanted is None or value is None:
        return (0.0, "") if value is wanted else (np.inf, "is None in only one backend")
    value, wanted = np.asarray(value), np.asarray(wanted)
    if value.shape != wanted.shape or value.dtype != wanted.dtype:
        return np.inf, f"is {value.dtype} {value.shape}, not {wanted.dtype} {wanted.shape}"
    if limit is None:
        if np.array_equal(value, wanted, equal_nan=wanted.dtype.kind == "f"):
            return 0.0, ""
        return np.inf, f"differs from the reference at {_first(value, wanted)}"
    magnitude, length = limit
    error = np.abs(value.astype(np.float64) - wanted.astype(np.float64))
    allowed = tolerance.bound(np.broadcast_to(magnitude, value.shape), length)
    allowed += np.finfo(value.dtype).tiny
    with np.errstate(over="ignore"):
        shares = error / allowed
    share = float(np.max(shares, initial=0.0))
    if share <= 1.0:
        return share, ""
    place = np.unravel_index(int(np.argmax(shares)), value.shape)
    where = tuple(int(p) for p in place)
    return share, f"is off by {error[place]:.3g} at {where}, {share:.3g} times what is allowed"


def _first(value: Any, wanted: Any) -> tuple[int, ...]:
    same = (value == wanted) | ((value != value) & (wanted != wanted))
    return tuple(int(p) for p in np.argwhere(~same)[0])
