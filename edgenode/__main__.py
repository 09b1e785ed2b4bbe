"""Starts the `edgenode` command."""

import os
import sys


def main() -> int:
    # gRPC would print its own log lines before our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Here and not above: loading takes a moment, in which Ctrl-C may come.
        from edgenode import cli
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
