"""What a node thinks of a certificate that is shown to it."""

from enum import StrEnum


class Verdict(StrEnum):
    """The comments in pairing.proto say what each means."""

    TRUSTED = "trusted"
    UNKNOWN_AUTHORITY = "unknown_authority"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_ROLE = "wrong_role"
    OWN_EXPIRED = "own_expired"
