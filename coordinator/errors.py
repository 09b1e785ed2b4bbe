"""The coordinator's leaves of the error tree."""

from edgenode.errors import EdgenodeError


class NoNodes(EdgenodeError):
    """No node that could do the work was found, or all of them went away before any of it was done."""


class NotPutTogether(NoNodes):
    """No model of the pool made an answer of what was found, which is kept."""


class DocumentError(EdgenodeError):
    """A document, or all of them, could not be read. The text names the file and the reason."""


class RunError(EdgenodeError):
    """A run's kept state cannot be found, read or written."""


class RunBusy(RunError):
    """Another process is at the run. It is sound, and can be used once that process ends."""


class EgressRefused(EdgenodeError):
    """The gate stopped a request: too large, or holding what must not leave. Nothing was sent."""


class SupervisorError(EdgenodeError):
    """The supervisor did not give a usable reply, and trying again now would not help. The findings are kept."""


class SupervisorRejected(SupervisorError):
    """The supervisor refused the request: wrong key, unknown model, unknown address, malformed request."""


class SupervisorUnavailable(SupervisorError):
    """The supervisor stayed unreachable, overloaded or broken through every retry."""


class SupervisorUnsure(SupervisorError):
    """A request went out and no reply came back, or only a gateway's: it may have been answered and paid for, which nobody here can
    know. Another is sent only when that is asked for."""


class SupervisorGarbled(SupervisorError):
    """The supervisor's replies were of no use, the second one too. They were paid for."""
