"""How both commands begin: before anything of theirs is loaded, which takes a moment in which Ctrl-C may come."""

import os
import signal
import sys
from collections.abc import Callable


def launch(load: Callable[[], Callable[[], int]]) -> int:
    """The exit status of what `load` loads: 130 when Ctrl-C comes, whenever that is."""
    try:
        _fill_closed_streams()
        # Held back while modules load, some of which would make another error of it.
        may_block = hasattr(signal, "pthread_sigmask")
        if may_block:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            act = load()
        finally:
            if may_block:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return act()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201 - the command line has no other voice yet
        return 130
    finally:
        # There is nothing left to clean up: from here on it simply ends the process, unless it is ignored, as in `command &`.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _fill_closed_streams() -> None:
    # `>&-`: nobody wants that stream. Its number is taken, since the next file that is opened would get it and what is meant for
    # the stream; and Python has no object for it, which `print` would take for standard output.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for as long as we live
