"""What a node thinks of a certificate that is shown to it."""

from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """The comments in pairing.proto say what each means."""

    TRUSTED = "trusted"
    UNKNOWN_AUTHORITY = "unknown_authority"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_ROLE = "wrong_role"
    OWN_EXPIRED = "own_expired"


REFUSALS: Final = {
    Verdict.UNKNOWN_AUTHORITY: "This device does not trust the coordinator (any more). Pair them again.",
    Verdict.EXPIRED: "The coordinator's certificate has expired, by this device's clock: it shows another if no clock is wrong.",
    Verdict.NOT_YET_VALID: "The coordinator's certificate is not valid yet, by this device's clock.",
    Verdict.WRONG_ROLE: "Only coordinators may give work, and this is the certificate of a node.",
}
"""Why a node takes no work from whoever shows such a certificate, to the coordinator's owner. Others are let in."""
