"""The coordinator's authority, the nodes that it is paired with, and its invitations."""
