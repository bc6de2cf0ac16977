"""``python -m evalpool``: the command, for cases where its script is not on the path (under mpirun, in a container)."""

import sys

from evalpool.cli._main import main

if __name__ == "__main__":
    sys.exit(main())
