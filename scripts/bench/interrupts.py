"""How a benchmark is ended early: by Ctrl-C and by SIGTERM alike, so that what it started is ended too."""

import signal


def end_on_signals() -> None:
    """Both become the interruption that asyncio makes a cancellation of. A handler that raised by itself would do so within
    whatever task happens to run."""
    # A shell that starts this in the background leaves Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
