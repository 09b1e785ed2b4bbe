"""Starts the `edgenode` command."""

import os
import sys
from collections.abc import Callable

from edgenode.launch import launch


def main() -> int:
    return launch(_load)


def _load() -> Callable[[], int]:
    # gRPC would print its own log lines before our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from edgenode import cli

    return cli.main


if __name__ == "__main__":
    sys.exit(main())
