"""What a person can do about a trouble, in the words of what they use: the `coordinator` command or the SDK.

Devices are set up by the `edgenode` command alone, so its words are the same in both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from edgenode.text import typeable

_by_command = False


@contextmanager
def of_commands() -> Iterator[None]:
    """While it is entered this process, all its threads, speaks the words of the command line and not those of the SDK."""
    global _by_command
    before, _by_command = _by_command, True
    try:
        yield
    finally:
        _by_command = before


def either(command: str, python: str) -> str:
    """What to type, or to write in Python."""
    return command if _by_command else python


def option(name: str) -> str:
    """An option by its name in Python, such as `max_egress`: `--max-egress` in commands."""
    return either("--" + name.replace("_", "-"), name)


def resume(run: str, *, again: bool = False, max_egress: bool = False) -> str:
    flags = f"{' --again' if again else ''}{' --max-egress N' if max_egress else ''}"
    arguments = f"{', again=True' if again else ''}{', max_egress=N' if max_egress else ''}"
    return either(f"coordinator resume {run}{flags}", f'pool.resume("{run}"{arguments})')


def forget(run: str) -> str:
    return either(f"coordinator forget {run}", f'pool.forget("{run}")')


def pair(name: str, id: str) -> str:
    """Of the node `name`; of `id` alone where that is empty."""
    return either(f"coordinator pair {typeable(name, id) if name else id}", f"pool.pair({name or id!r}, ask)")
