"""Starts the `coordinator` command."""

import os
import sys
from collections.abc import Callable

from edgenode.launch import launch


def main() -> int:
    return launch(_load)


def _load() -> Callable[[], int]:
    # gRPC would print its own log lines before our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from coordinator import cli

    def act() -> int:
        try:
            return cli.main()
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package in {"coordinator", "edgenode"}:
                raise
            # A node is installed without what only a coordinator needs.
            print(f"The package {package} is missing. Install it with: pip install 'edgenode[coordinator]'", file=sys.stderr)
            return 1

    return act


if __name__ == "__main__":
    sys.exit(main())
