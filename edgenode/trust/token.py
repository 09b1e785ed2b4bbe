"""The token by which a device that nobody sits at is invited: made by `coordinator invite`, given to `edgenode start`.

As bytes: a version, the identity of the coordinator's authority (which pins it), the invitation's id, the secret, and the beginning
of the SHA-256 of all that, against mistyping. As text: base32 in groups, upper or lower case.
"""

import base64
import binascii
import hashlib
import unicodedata
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from edgenode.errors import UsageError
from edgenode.types import AuthorityId

INVITE_LIFE: Final = timedelta(days=7)
"""How long an invitation is good unless told otherwise."""

VERSION: Final = 1
AUTHORITY_BYTES: Final = 16
ID_BYTES: Final = 4
SECRET_BYTES: Final = 16
# With these a token is a multiple of 5 bytes, so base32 needs no padding.
CHECK_BYTES: Final = 3
TOKEN_CHARACTERS: Final = (1 + AUTHORITY_BYTES + ID_BYTES + SECRET_BYTES + CHECK_BYTES) * 8 // 5
GROUP: Final = 8
MAX_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Invite:
    authority: AuthorityId
    id: str
    """8 hex digits."""
    secret: bytes = field(repr=False)
    """`SECRET_BYTES` random bytes, shared by the coordinator and whoever is given the token."""


def format_token(invite: Invite) -> str:
    body = bytes([VERSION]) + bytes.fromhex(invite.authority) + bytes.fromhex(invite.id) + invite.secret
    text = base64.b32encode(body + _check(body)).decode("ascii").lower()
    assert len(text) == TOKEN_CHARACTERS, "the fields have their lengths"
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def parse_token(text: str) -> Invite:
    """Spaces, dashes and case do not matter. Raises `UsageError`, with a sentence that never repeats the token, for a text that is
    none or was mistyped."""
    # Full-width letters too: a Japanese keyboard writes them.
    folded = unicodedata.normalize("NFKC", text[:MAX_TEXT]).upper()
    letters = "".join(character for character in folded if not character.isspace() and character != "-")
    if len(letters) != TOKEN_CHARACTERS:
        raise UsageError(
            f"The invitation token has {len(letters)} characters and should have {TOKEN_CHARACTERS}: "
            "copy all of what `coordinator invite` showed."
        )
    try:
        data = base64.b32decode(letters.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        raise UsageError("The invitation token holds a character that none has: only the letters and the digits 2 to 7.") from None
    body = data[:-CHECK_BYTES]
    if _check(body) != data[-CHECK_BYTES:]:
        raise UsageError("The invitation token was mistyped: copy it again from what `coordinator invite` showed.")
    if body[0] != VERSION:
        raise UsageError("The invitation token was made by another version of edgenode: update this device.")
    authority, id, secret = body[1:17], body[17:21], body[21:]
    return Invite(AuthorityId(authority.hex()), id.hex(), secret)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:CHECK_BYTES]
