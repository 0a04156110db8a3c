"""`python -m lbw`: the command line."""

import sys

from lbw.studio.cli import main

if __name__ == "__main__":
    sys.exit(main())
