"""The ``modelyard`` command: argument parsing and printing. Exit codes: 0 done, 1 a job failed, 2 bad input."""

import sys

from modelyard.cli.app import app
from modelyard.cli.errors import BadInput
from modelyard.clusters.process.lock import Busy


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except BadInput as error:
        for line in error.lines:
            print(f"error: {line}", file=sys.stderr)  # noqa: T201  this is the command line
        sys.exit(2)
    except Busy as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
