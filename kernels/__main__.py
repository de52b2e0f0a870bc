"""Run the command line: ``python -m kernels``."""

from kernels.command import main

if __name__ == "__main__":
    raise SystemExit(main())
