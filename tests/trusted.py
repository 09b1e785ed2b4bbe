"""Nodes and coordinators that trust each other without having met, for tests that are not about pairing."""

from pathlib import Path

from coordinator.trust.authority import Authority
from coordinator.trust.paired import PairedNode, PairedNodes
from edgenode.home import make_private_folder
from edgenode.net.client import NodeConnection
from edgenode.node import Node
from edgenode.trust.certificates import now_utc
from edgenode.trust.store import NodeTrust


def paired(home: Path, authority: Authority, nodes: PairedNodes | None = None, name: str = "node") -> NodeTrust:
    """What the node of `home` keeps of whom it trusts, after it was paired with `authority`, and `nodes` of it if given."""
    make_private_folder(home)
    trust, now = NodeTrust(home), now_utc()
    leaf = authority.sign_node(trust.key.public_key(), now)
    trust.trust(authority.certificate, leaf, "code")
    if nodes is not None:
        nodes.add(PairedNode(trust.id, name, now, "code", leaf.not_valid_after_utc))
    return trust


def connection(node: Node, authority: Authority) -> NodeConnection:
    """To a running node that is paired with `authority`."""
    return NodeConnection((node.address,), node.description().id, authority.client_tls(), authority.id)
