"""The command line: arguments in, messages out; the only place that prints or exits.

Nothing heavy is imported before a command needs it, so that `handful --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a fault of handful, 2 an error the user can mend, 130 stopped.

    Args:
        argv: The arguments behind `handful`; by default those of the process.
    """
    try:
        from handful.cli.app import execute
    except KeyboardInterrupt:  # nothing has begun yet
        sys.exit(130)
    sys.exit(execute(sys.argv[1:] if argv is None else argv))
