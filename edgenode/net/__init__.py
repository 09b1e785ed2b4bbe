"""The network: the wire, gRPC channels and services, mDNS."""

import os

# Before gRPC is imported. By itself it writes a line to standard error for every handshake that comes to nothing, so that whoever
# knocks a thousand times fills the log. What matters of it is logged here, once.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
