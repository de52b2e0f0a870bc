"""Run the command line: ``python -m cnn``."""

from cnn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
