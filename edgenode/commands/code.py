"""The pairing code as a person sees it: digits to type, and a QR code where the terminal can show one."""

import io
import shlex
import sys
from urllib.parse import quote

from edgenode.types import NodeId

# Half blocks draw two rows of a code in one line of text; terminals without them get the digits alone.
_BLOCK = "▀"


def spaced(code: str) -> str:
    """`12345678` as `1234 5678`. Both can be typed."""
    return f"{code[:4]} {code[4:]}"


def link(node: NodeId, name: str, code: str) -> str:
    """What the QR code holds: an address that names the device and its code, and that `coordinator pair` takes as it is."""
    return f"edgenode:pair?id={node}&code={code}&name={quote(name, safe='')}"


def show(node: NodeId, name: str, code: str, seconds: float) -> None:
    """Prints the code on standard output, with its QR code if that is a terminal that can show it."""
    print(f"Pairing code: {spaced(code)}  (for {seconds / 60:.0f} minutes)")
    if sys.stdout.isatty() and _can_show(_BLOCK):
        import segno

        drawn = io.StringIO()
        segno.make(link(node, name, code), micro=False, error="l").terminal(drawn, compact=True, border=2)
        print(drawn.getvalue(), end="")
    print(f"On the machine you sit at: coordinator pair {shlex.quote(name)}", flush=True)


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
