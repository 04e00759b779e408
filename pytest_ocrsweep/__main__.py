"""`python -m pytest_ocrsweep` is `ocrsweep`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
