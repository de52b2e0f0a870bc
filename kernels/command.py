"""The command line: ``python -m kernels check | doctor | warmup``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kernels import doctor, warmup
from kernels.crosscheck import command as crosscheck


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 if it found something wrong, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels", description="CPU kernels for convolutional networks."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for part in (crosscheck, doctor, warmup):
        part.add_to(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status
