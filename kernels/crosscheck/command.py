"""``python -m kernels check``: the cross-check as a command."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kernels import dispatch
from kernels.crosscheck.running import (
    DEFAULT_CASES,
    OperationReport,
    check_arguments,
    check_backend,
    heading,
    known_operations,
)

FAILED, BAD_INPUT = 1, 2


def add_to(commands: Any) -> None:
    """Add ``check`` to the subparsers of ``python -m kernels``."""
    check = commands.add_parser(
        "check",
        help="compare a backend with the naive reference",
        description="Compare a backend with the naive reference on randomly drawn cases.",
    )
    check.add_argument("--backend", default="numba", help="its name (%(default)s)")
    check.add_argument(
        "--op",
        action="append",
        choices=known_operations(),
        metavar="NAME",
        help="check only this operation; may be repeated",
    )
    check.add_argument(
        "--cases", type=int, default=DEFAULT_CASES, help="cases an operation (%(default)s)"
    )
    check.add_argument("--seed", type=int, default=0, help="of the cases (%(default)s)")
    check.add_argument("--case", type=int, help="run only the case of this number")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    single = options.case is not None
    arguments = {
        "cases": 1 if single else options.cases,
        "first_case": options.case if single else 0,
        "seed": options.seed,
    }
    try:
        check_arguments(**arguments)
        dispatch.resolve(options.backend)
    except (ValueError, TypeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    print(heading(), flush=True)
    report = check_backend(options.backend, operations=options.op, progress=_show, **arguments)
    for operation in report.operations:
        for failure in operation.failures[:3]:
            print(failure)
    return 0 if report.passed else FAILED


def _show(report: OperationReport) -> None:
    print(report, flush=True)
