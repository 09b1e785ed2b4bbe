"""Starts the `coordinator` command."""

import os
import sys


def main() -> int:
    # gRPC would print its own log lines before our sentences.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Here and not above: loading takes half a second, in which Ctrl-C may come.
        from coordinator import cli
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in {"coordinator", "edgenode"}:
            raise
        # A node is installed without what only a coordinator needs.
        print(f"The package {package} is missing. Install it with: pip install 'edgenode[coordinator]'", file=sys.stderr)
        return 1
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
