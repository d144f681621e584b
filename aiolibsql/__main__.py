"""``python -m aiolibsql``: the shell."""

import sys

from aiolibsql.shell.main import main

if __name__ == "__main__":
    sys.exit(main())
