"""`python -m benchmarks`: see `frame.command`."""

import sys
from pathlib import Path

from benchmarks.frame.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parent))
