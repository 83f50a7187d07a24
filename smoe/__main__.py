"""``python -m smoe``."""

import sys

from smoe.cli import main

if __name__ == "__main__":
    sys.exit(main())
