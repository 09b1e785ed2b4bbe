"""SPAKE2 and the proofs that follow it: two sides that know a short secret get a long one, and a side that only guesses gets one
guess and nothing to try others on later.

SPAKE2 as in RFC 9382 in shape (not in its hash: both ends are this library), over the prime-order subgroup of Ed25519. The proofs
are HMAC-SHA256 over everything that was said before, under labels that differ for each of them.
"""

import hashlib
import hmac
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from edgenode.errors import PairingError
from edgenode.trust.frames import PairingFrame, frame_bytes

if TYPE_CHECKING:
    from spake2 import SPAKE2_A, SPAKE2_B

MESSAGE_BYTES: Final = 33
CONFIRMATION_BYTES: Final = 32


class Label(StrEnum):
    """What a proof proves, so that none can be sent back in place of another."""

    COORDINATOR = "edgenode pairing v1: the coordinator knows the secret"
    NODE = "edgenode pairing v1: the node knows the secret and asks for this"
    RENEWAL = "edgenode pairing v1: the holder of the node's key asks for this"
    CERTIFICATE = "edgenode pairing v1: the coordinator gives this certificate"
    DONE = "edgenode pairing v1: the holder of the node's key has kept this certificate"


class Pake:
    """One side of one exchange. `message` goes to the other side; `finish` takes the other side's."""

    # The library is loaded when somebody pairs: a node that waits for that does without its tables.

    def __init__(self, side: "SPAKE2_A | SPAKE2_B") -> None:
        self._side = side
        self.message: bytes = side.start()

    @classmethod
    def of_coordinator(cls, secret: bytes, coordinator: bytes, node: bytes) -> Self:
        """`coordinator` and `node` are who the two sides are: the keys differ unless both mean the same two."""
        from spake2 import SPAKE2_A

        return cls(SPAKE2_A(secret, idA=coordinator, idB=node))

    @classmethod
    def of_node(cls, secret: bytes, coordinator: bytes, node: bytes) -> Self:
        from spake2 import SPAKE2_B

        return cls(SPAKE2_B(secret, idA=coordinator, idB=node))

    def finish(self, message: bytes) -> bytes:
        """The key: equal on both sides if their secrets are. Raises `PairingError` for what is no message of the other side."""
        from spake2 import SPAKEError
        from spake2.ed25519_basic import NotOnCurve

        try:
            if len(message) != MESSAGE_BYTES:  # the library ignores what is too much
                raise ValueError("length")
            key: bytes = self._side.finish(message)
        except (SPAKEError, NotOnCurve, ValueError, ArithmeticError, AssertionError) as error:
            raise PairingError("The other side sent a message that is not of the key exchange.") from error
        return key


class Transcript:
    """What was said so far, both ways, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, frame: PairingFrame) -> None:
        self._hash.update(frame_bytes(frame))

    def confirm(self, key: bytes, label: Label, *frames: PairingFrame) -> bytes:
        """Proof of `key` that covers everything added, and then `frames`."""
        return hmac.digest(key, self.labelled(label, *frames), "sha256")

    def labelled(self, label: Label, *frames: PairingFrame) -> bytes:
        """What is to be proved or signed: everything added, and then `frames`, under a label."""
        said = self._hash.copy()
        for frame in frames:
            said.update(frame_bytes(frame))
        return label.encode("ascii") + b"\x00" + said.digest()


def same(mine: bytes, theirs: bytes) -> bool:
    """Whether two proofs are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(mine, theirs)
