"""The network: the wire, gRPC channels and services, mDNS."""
