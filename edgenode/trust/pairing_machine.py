"""What the machines of pairing and renewal have in common: turns, refusals, and how a refusal is told to a person."""

from enum import Enum, auto

from edgenode.errors import EdgenodeError, PairingError, TrustError
from edgenode.trust.frames import PairingFrame, RefusalReason, Refused, SecretKind
from edgenode.trust.pake import Transcript


class PairingStopped(PairingError):
    """It ended with a refusal: `told` if the other side sent it, otherwise it is to be sent there."""

    def __init__(self, refusal: Refused, told: bool = False, message: str | None = None) -> None:
        super().__init__(message or refusal.message)
        self.refusal = refusal
        self.told = told


class Turn(Enum):
    """What a machine waits for."""

    INTRODUCTION = auto()
    BEGIN = auto()
    ANSWER = auto()
    PROOF = auto()
    REQUEST = auto()
    CERTIFICATE = auto()
    DONE = auto()
    OVER = auto()


class Machine:
    """What all have in common: whatever goes wrong, the machine is over."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._said = Transcript()

    @property
    def finished(self) -> bool:
        return self._turn is Turn.OVER

    def start(self) -> tuple[PairingFrame, ...]:
        """What to send before anything has come in."""
        return ()

    def receive(self, frame: PairingFrame) -> tuple[PairingFrame, ...]:
        """What to send now. Raises `PairingStopped`, for a frame out of turn too."""
        turn, self._turn = self._turn, Turn.OVER
        if isinstance(frame, Refused):
            raise PairingStopped(frame, told=True, message=self._in_words(frame))
        try:
            self._turn, answer = self._take(turn, frame)
        except PairingStopped:
            raise
        except (PairingError, TrustError) as error:
            raise PairingStopped(Refused(RefusalReason.INVALID, str(error))) from error
        except EdgenodeError as error:
            # What went wrong here (a file that cannot be written) is nothing for the other side to read.
            refusal = Refused(RefusalReason.INVALID, "It cannot go on for a reason of its own.")
            raise PairingStopped(refusal, message=str(error)) from error
        return answer

    def _take(self, turn: Turn, frame: PairingFrame) -> tuple[Turn, tuple[PairingFrame, ...]]:
        raise NotImplementedError

    def _in_words(self, refusal: Refused) -> str:
        return f"The other side refused: {refusal.message}"


def explain(refusal: Refused, name: str, kind: SecretKind | None) -> str:
    """A node's refusal as a sentence for whoever sits at the coordinator. `name` is what the node calls itself;
    `kind` is None for a renewal."""
    name = name or "The device"
    match refusal.reason:
        case RefusalReason.WINDOW_CLOSED:
            return f"{name} is not open for pairing: run `edgenode pair` on it, and use the code that it shows."
        case RefusalReason.BACKING_OFF:
            return f"{name} has seen too many wrong codes: wait {refusal.retry_after:.0f} s, then run `edgenode pair` on it."
        case RefusalReason.WRONG_SECRET if kind is SecretKind.CODE:
            return f"That is not the code of {name}, or somebody stands in between: look at its screen and try again."
        case RefusalReason.WRONG_SECRET if kind is SecretKind.INVITE:
            return f"{name} holds another invitation: make one with `coordinator invite` and start it with that."
        case RefusalReason.WRONG_SECRET:
            return f"{name} has another secret than its file says: it may have been restarted just now. Try again."
        case RefusalReason.REMOVED:
            return f"{name} has dropped this coordinator: run `edgenode pair` on it and pair it by the code that it shows."
        case RefusalReason.NOT_PAIRED:
            return f"{name} does not know this coordinator: pair it by `coordinator pair`."
        case RefusalReason.BUSY:
            return f"{name} is busy with somebody else's pairing: try again in a moment."
        case _:
            return f"{name} broke the {'pairing' if kind else 'renewal'} off: {refusal.message or 'it gave no reason.'}"


def out_of_turn(frame: PairingFrame) -> PairingError:
    return PairingError(f"A message came out of turn ({type(frame).__name__}).")
