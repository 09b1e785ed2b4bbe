"""The one error tree. The text of each is a sentence for the user: what, where, and what to do about it."""

from edgenode.types import FailureReason


class EdgenodeError(Exception):
    """Root of every error this project raises on purpose. `str(error)` can be shown to a person as it is."""


class UsageError(EdgenodeError):
    """The caller asked for something that makes no sense (unknown option, missing file). Trying again does not help."""


class HomeError(EdgenodeError):
    """A node's home folder cannot be used: locked by another node, not writable, or damaged."""


class ModelError(EdgenodeError):
    """A model cannot be found, fetched, read or removed."""


class ModelFileError(ModelError):
    """A file is not a usable GGUF model: foreign, truncated or damaged."""


class PullError(ModelError):
    """A model could not be fetched: source unknown or unreachable, disk too small, digest wrong."""


class TrustError(EdgenodeError):
    """A key, a certificate or a record of trust cannot be used, or a peer is not who it should be."""


class PairingError(EdgenodeError):
    """Two sides could not be paired or a certificate not renewed. The text says why and what to do."""


class NetworkError(EdgenodeError):
    """An address or an interface cannot be used, or a peer cannot be reached."""


class EngineError(EdgenodeError):
    """An engine did not do one piece of work, or could not be started. `reason` tells how."""

    reason: FailureReason = FailureReason.ENGINE_ERROR


class EngineCrashed(EngineError):
    """The engine's process ended while it worked. Elsewhere, or after its restart, the work may succeed."""

    reason = FailureReason.ENGINE_CRASHED


class EngineUnavailable(EngineError):
    """The engine is not there, or still starting. Trying again later may help."""

    reason = FailureReason.ENGINE_UNAVAILABLE


class EngineTimeout(EngineError):
    """The engine fell silent for longer than its deadline."""

    reason = FailureReason.ENGINE_TIMEOUT


class EngineLoading(EngineUnavailable):
    """The engine is there and still loads its model, or has as much to do as it takes."""


class EngineRefused(EngineError):
    """The engine refuses such requests for good: it wants a key, has no such model, or cannot do what is asked."""

    reason = FailureReason.ENGINE_REFUSED


class ContextExceeded(EngineError):
    """Prompt and reply do not fit the model's context. The same prompt will never fit this model."""

    reason = FailureReason.CONTEXT_EXCEEDED
