"""``python -m mlfeat`` is the command ``mlfeat``."""

import sys

from mlfeat.cli import main

if __name__ == "__main__":
    sys.exit(main())
