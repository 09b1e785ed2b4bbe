"""`coordinator pair`, `unpair` and `invite`: whose devices read."""

import argparse
import contextlib
import getpass
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from coordinator.commands.options import add_network, network
from edgenode.console import ANSWERED, Commands, add_common, print_json, whole
from edgenode.errors import UsageError
from edgenode.trust.token import INVITE_LIFE

if TYPE_CHECKING:
    from coordinator.events import NodeInfo
    from coordinator.trust.paired import PairedNode

if sys.platform == "win32":
    termios = None
else:
    import termios

MAX_INVITE_DAYS = 365


def add_to(commands: Commands) -> None:
    pair = commands.add_parser(
        "pair",
        help="pair with a device, once",
        description="Pairs with a node by the code that it shows. A node of the same user on this machine needs none.",
    )
    pair.add_argument("node", metavar="NAME", help="its name, id or HOST:PORT, or the link that its QR code holds")
    pair.add_argument("--code", help="the code that the device shows, for scripts (default: it is asked for)")
    add_network(pair)
    add_common(pair)
    pair.set_defaults(act=_pair)

    remove = commands.add_parser(
        "unpair",
        help="shut a device out",
        description="Shuts a device out at once and ends its work. It comes back only by `coordinator pair`, or by an invitation "
        "made after that.",
    )
    remove.add_argument("node", metavar="NAME", help="its name or id")
    add_common(remove)
    remove.set_defaults(act=_unpair)

    invite = commands.add_parser(
        "invite",
        help="make a token for a device without a screen",
        description="Prints a token with which one device can be paired without a code: EDGENODE_INVITE=TOKEN edgenode start. "
        "(What stands in the arguments, as with --invite TOKEN, can be read by every user of the device.)",
    )
    invite.add_argument(
        "--days",
        type=whole("a number of days", most=MAX_INVITE_DAYS),
        default=INVITE_LIFE.days,
        metavar="N",
        help=f"how long it is good (default: {INVITE_LIFE.days})",
    )
    add_common(invite)
    invite.set_defaults(act=_invite)


def _pair(options: argparse.Namespace) -> int:
    import asyncio

    from coordinator.nodes.pairing import Trust
    from coordinator.pool import Pool
    from edgenode.trust.window import parse_code

    wanted, code = _meant(options.node, options.code)

    async def ask(node: "NodeInfo") -> str:
        if code is not None:
            return code
        if not sys.stdin.isatty():
            raise UsageError(f"There is no terminal to ask for the code of {node.name} on. Give it with --code CODE.")
        while True:
            try:
                typed = await _typed(f"Code that {node.name} ({node.address}) shows: ")
            except EOFError:
                raise UsageError("No code was typed, and nothing was paired.") from None
            try:
                return parse_code(typed)
            except UsageError as error:
                # It was not sent, so the device does not count it as a wrong code.
                print(error, file=sys.stderr)

    async def carry_out() -> "PairedNode":
        async with Pool.discover(**network(options)) as pool:
            return await pool.pair(wanted, ask)

    before = {(each.id, each.since) for each in Trust.load().paired.all()}
    kept = asyncio.run(carry_out())
    already = (kept.id, kept.since) in before
    if options.json:
        ends = kept.certificate_ends.isoformat()
        print_json({"id": kept.id, "name": kept.name, "via": kept.via, "certificate_ends": ends, "already": already})
    elif already:
        print(f"{kept.name} is already paired, since {kept.since:%Y-%m-%d}. There is nothing to do.")
    else:
        print(f"Paired with {kept.name}.")
    return ANSWERED


async def _typed(prompt: str) -> str:
    """What a person types, unseen. Raises `EOFError` at the end of the input."""
    with _terminal_kept():
        from edgenode.threads import in_thread

        return await in_thread(getpass.getpass, prompt, sys.stderr)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Leaves the terminal as it was. After Ctrl-C nobody waits for the thread that would have switched its echo on again."""
    if termios is None:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    except BaseException:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        print(file=sys.stderr)  # what is said next does not stand behind the prompt
        raise


def _meant(node: str, code: str | None) -> tuple[str, str | None]:
    """The node and its code; the link of a QR code holds both. Raises `UsageError` for a damaged link."""
    if not node.startswith("edgenode:"):
        return node, code
    told = parse_qs(urlsplit(node).query)
    try:
        return told["id"][0], code or told["code"][0]
    except KeyError:
        raise UsageError("The link is not one that a node shows. Copy all of it, or give the node's name and --code.") from None


def _unpair(options: argparse.Namespace) -> int:
    from coordinator.nodes.pair_node import unpair
    from coordinator.nodes.pairing import Trust

    removed = unpair(Trust.load(), options.node)
    if options.json:
        print_json({"unpaired": removed.id, "name": removed.name, "known": removed.is_known})
    elif not removed.is_known:
        print(f"Nothing is known of {removed.id}. It is shut out from now on.")
    else:
        print(f"{removed.name} is shut out. Its connections to this coordinator end now.")
    return ANSWERED


def _invite(options: argparse.Namespace) -> int:
    from coordinator.nodes.pairing import Trust
    from edgenode.trust.token import format_token

    invite = Trust.load().invites.make(life=timedelta(days=options.days))
    token = format_token(invite)
    if options.json:
        print_json({"id": invite.id, "token": token, "ends": invite.ends.isoformat()})
    else:
        print(token, flush=True)
        # Beside the token, so that a script can take it from standard output as it is.
        for line in (
            "",
            "Paste this line on the device, in a shell of Linux, macOS or Termux:",
            f"  EDGENODE_INVITE={token} edgenode start",
            "or in PowerShell on Windows:",
            f"  $env:EDGENODE_INVITE='{token}'; edgenode start",
            f"The token is a secret. It is for one device, and good until {invite.ends:%Y-%m-%d %H:%M} UTC.",
            "The device is paired as soon as a coordinator command runs here and sees it.",
        ):
            print(line, file=sys.stderr)
    return ANSWERED
