"""Who is next when several coordinators want one engine: pure, and fair by the time that the engine has worked for each."""

from collections.abc import Iterable

from edgenode.types import AuthorityId


class FairShares:
    """Start-time fair queueing: the next turn is of whoever has been served least, and who comes (or comes back) begins level
    with those that are there. So nobody saves up credit by being idle, and nobody is made to wait for what was before he came.
    """

    def __init__(self) -> None:
        self._served: dict[AuthorityId, float] = {}
        self._level = 0.0
        """What the one whose turn it was last had been given by then: nobody who waits has been given less."""

    def next(self, waiting: Iterable[AuthorityId]) -> AuthorityId:
        """Whose turn it is of those that wait, in order of their arrival, which decides between equals. `waiting` is not empty."""
        served = {each: max(self._served.get(each, 0.0), self._level) for each in waiting}
        chosen = min(served, key=served.__getitem__)
        self._level = served[chosen]
        # Who is away and owes nothing is forgotten; who was given more than others just before he left is not.
        self._served = {each: seconds for each, seconds in {**self._served, **served}.items() if seconds > self._level}
        return chosen

    def charge(self, authority: AuthorityId, seconds: float) -> None:
        """The engine worked for `seconds` on the turn of `authority`."""
        self._served[authority] = max(self._served.get(authority, 0.0), self._level) + max(seconds, 0.0)

    def clear(self) -> None:
        """Nobody waits and the engine is idle: all begin level again."""
        self._served.clear()
