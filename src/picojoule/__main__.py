"""``python -m picojoule``."""

import sys

from picojoule.cli import main

if __name__ == "__main__":
    sys.exit(main())
