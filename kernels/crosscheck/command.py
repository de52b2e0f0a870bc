"""``python -m kernels check``: the cross-check as a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 if a case failed, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels", description="CPU kernels for convolutional networks."
    )
    commands = parser.add_subparsers(dest="command", required=True)
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
    return _check(parser.parse_args(arguments))


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
