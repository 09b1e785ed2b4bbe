"""Starts the `coordinator` command."""

import os
import sys


def main() -> int:
    # gRPC would print its own log lines before our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Here and not above: loading takes half a second, in which Ctrl-C may come.
        from coordinator import cli

        return cli.main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
