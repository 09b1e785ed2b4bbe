"""Which findings are worth their place in the supervisor's request."""

import bisect
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from coordinator.errors import EgressRefused
from coordinator.minions.fairness import fair
from coordinator.remedies import option
from coordinator.types import Answered, Place, Retrieved
from coordinator.words import by_ocr
from edgenode.text import clean_line

RESERVED_SHARE: Final = 0.6
"""Of the budget, for the strongest retrieved sentences, whatever readers chose. Evidence recall grows slowly beyond: on the State
of the Union it is .89 at 2,000 and .96 at 4,000 characters (76 questions; scripts/bench_evidence.py)."""
AGREEMENT: Final = 0.4
"""Share of the readers' choices that must be among the reserved sentences for readers to be believed about others. On that speech
readers that choose at random leave recall as it was (.888 at 2,000 characters, .958 at 4,000); at .25 they cost .008 at 2,000,
since with the few chunks of a pointed question chance agrees that often."""

_MAX_NAME_CHARACTERS: Final = 60
# Every number is counted as this wide, so that what fits does not depend on how many findings there are.
_NUMBER_WIDTH: Final = 4
_MAX_ENTRIES: Final = 10**_NUMBER_WIDTH - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One quotation of the request, and what is known of it."""

    finding: Answered | Retrieved
    """Whose place and quotation it is."""
    chosen: bool
    """Whether a reader chose it."""
    answer: str
    """The reader's own words, unverified; empty where it chose nothing, said nothing or there was no room."""
    strength: int
    """Position, from 0, among all, the most promising first."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is sent: entries in the order of the documents' text, numbered from 1. `names` are those to be shown, by label."""

    entries: tuple[Entry, ...]
    names: Mapping[str, str]
    dropped: int
    """Findings that did not fit (those of one place count once)."""

    @property
    def findings(self) -> tuple[Answered | Retrieved, ...]:
        return tuple(entry.finding for entry in self.entries)


def select(findings: Sequence[Answered | Retrieved], budget_characters: int, question: str, names: Mapping[str, str]) -> Selection:
    """The findings to send, such that `user_text` is at most `budget_characters` long.

    Findings whose ranges overlap are one entry. The order in which entries get their place, each if it still fits:

    1. The strongest retrieved sentences, by turns of the tasks, and so that no document takes all places (`fair`), up to
       `RESERVED_SHARE` of the room.
    2. If at least `AGREEMENT` of the readers' choices are among those: the readers' choices, with their answers, and then the other
       retrieved sentences. If not, the other way round: the retrieved sentences are then exactly those that would be sent without
       any reader, and readers only add what there is still room for.

    So readers that choose at random do not displace retrieved sentences, and those of step 1 nobody can displace. Readers' choices
    are ordered by retrieval's opinion of the sentence and of its chunk, then spread evenly over the document.
    Raises `EgressRefused` if the question alone is longer than the budget.
    """
    room = budget_characters - len(user_text(question, ()))
    if room < 0:
        raise EgressRefused(
            f"The question alone takes more than the {budget_characters} characters that may be sent. "
            f"Shorten it or raise {option('max_egress')}."
        )
    candidates = _merged(findings)
    retrieved = sorted((each for each in candidates if each.rank is not None), key=lambda each: each.rank or 0)
    chosen = _by_promise([each for each in candidates if each.answered], retrieved)
    packing = _Packing(room, names)
    reserved = [each for each in retrieved if packing.add(each, limit=room * RESERVED_SHARE)]
    choices = sum(len(each.answered) for each in chosen)
    if choices and sum(len(each.answered) for each in reserved) >= AGREEMENT * choices:
        packing.add_answered(chosen)
        packing.add_all(retrieved)
        order = [each for pair in itertools.zip_longest(chosen, retrieved) for each in pair if each is not None]
    else:
        packing.add_all(retrieved)
        packing.add_answered(chosen)
        order = retrieved + chosen
    entries = [packing.taken[key] for key in dict.fromkeys(id(each) for each in order) if key in packing.taken]
    numbered = (replace(entry, strength=strength) for strength, entry in enumerate(entries))
    return Selection(
        entries=tuple(sorted(numbered, key=lambda entry: _position(entry.finding.place))),
        names=dict(names),
        dropped=len(candidates) - len(entries),
    )


def user_text(question: str, lines: Iterable[str]) -> str:
    """The user message: the question and the findings' lines."""
    return "\n".join((f"Question: {clean_line(question, len(question) + 1)}", "", "Findings:", *lines))


def line(number: int, entry: Entry, names: Mapping[str, str]) -> str:
    """One finding: number, a star where a reader chose it, place, the quotation as a JSON string; its reader's words below it."""
    place = entry.finding.place
    name = names.get(place.document)
    label = f"{place.document} {_json(clean_line(name, _MAX_NAME_CHARACTERS))}" if name else place.document
    where = f"characters {place.start}-{place.end}" if place.page is None else f"page {place.page}"
    text = f"[{number}]{'*' if entry.chosen else ' '} {label}, {where}{by_ocr(place)}: {quotation(entry)}"
    return f"{text}\n    reader, unverified: {_json(entry.answer)}" if entry.answer else text


def quotation(entry: Entry) -> str:
    """The entry's quotation on one line, as a JSON string: whatever it holds, it ends where its quotation marks say."""
    return _json(entry.finding.quote)


def _json(text: str) -> str:
    return json.dumps(clean_line(text, len(text) + 1), ensure_ascii=False)


@dataclass(slots=True)
class _Candidate:
    """A range of a document with all that was found there."""

    finding: Answered | Retrieved
    rank: int | None = None
    """Place among the retrieved, None where retrieval did not find it."""
    answered: list[Answered] = field(default_factory=list)

    def entry(self, with_answer: bool) -> Entry:
        answer = next((each.answer for each in self.answered if each.answer), "") if with_answer else ""
        return Entry(self.finding, bool(self.answered), answer, strength=0)


class _Packing:
    """Entries taken so far, and the room they leave."""

    def __init__(self, room: int, names: Mapping[str, str]) -> None:
        self._room = room
        self._names = names
        self._used = 0
        self.taken: dict[int, Entry] = {}
        """By identity of the candidate."""

    def add(self, candidate: _Candidate, *, with_answer: bool = False, limit: float | None = None) -> bool:
        """Takes the candidate, or gives it its answer, if that fits within `limit`. Whether it did."""
        before = self.taken.get(id(candidate))
        entry = candidate.entry(with_answer)
        used = self._used + self._cost(entry) - (0 if before is None else self._cost(before))
        if used > (self._room if limit is None else limit) or (before is None and len(self.taken) == _MAX_ENTRIES):
            return False
        self._used = used
        self.taken[id(candidate)] = entry
        return True

    def add_all(self, candidates: Iterable[_Candidate]) -> None:
        for candidate in candidates:
            if id(candidate) not in self.taken:
                self.add(candidate)

    def add_answered(self, candidates: Iterable[_Candidate]) -> None:
        """With the readers' words where they fit, else without."""
        for candidate in candidates:
            if not self.add(candidate, with_answer=True) and id(candidate) not in self.taken:
                self.add(candidate)

    def _cost(self, entry: Entry) -> int:
        return 1 + len(line(_MAX_ENTRIES, entry, self._names))


def _merged(findings: Sequence[Answered | Retrieved]) -> list[_Candidate]:
    """One candidate for each range, retrieved ones first, so that their ranges stay; none overlaps another."""
    merged: list[_Candidate] = []
    lanes: dict[str, list[tuple[int, int, _Candidate]]] = {}
    ranked = _ranked([each for each in findings if isinstance(each, Retrieved)])
    apart = [_insert(lanes, _Candidate(each)) for each in ranked if _overlapping(lanes, each.place) is None]
    for rank, each in enumerate(fair(apart, lambda each: each.finding.place.document, lambda each: each.finding.quote)):
        each.rank = rank
        merged.append(each)
    # By content and not by arrival: which node was faster must not change what is sent.
    answered = [each for each in findings if isinstance(each, Answered)]
    for pick in sorted(answered, key=lambda each: (_position(each.place), each.task, each.answer)):
        candidate = _overlapping(lanes, pick.place)
        if candidate is None:
            candidate = _insert(lanes, _Candidate(pick))
            merged.append(candidate)
        elif candidate.finding.place == pick.place and not candidate.answered:
            candidate.finding = pick
        candidate.answered.append(pick)
    return merged


def _ranked(retrieved: Sequence[Retrieved]) -> list[Retrieved]:
    """All tasks' by turns, each task's strongest first: scores of different tasks cannot be compared."""
    turns: dict[int, int] = {}
    keyed = []
    for each in sorted(retrieved, key=lambda each: (-each.score, _position(each.place))):
        turn = turns[each.task] = turns.get(each.task, -1) + 1
        keyed.append(((turn, each.task), each))
    return [each for _, each in sorted(keyed, key=lambda pair: pair[0])]


def _by_promise(chosen: list[_Candidate], retrieved: list[_Candidate]) -> list[_Candidate]:
    last = len(retrieved)
    of_chunk: dict[int, int] = {}
    for rank, each in enumerate(retrieved):
        of_chunk.setdefault(each.finding.chunk, rank)

    def key(each: _Candidate) -> tuple[object, ...]:
        chunk = each.finding.chunk
        rank = last if each.rank is None else each.rank
        return rank, of_chunk.get(chunk, last), -len(each.answered), _spread(chunk), _position(each.finding.place)

    return sorted(chosen, key=key)


def _spread(index: int) -> str:
    """A key that sorts whole numbers so that any first part of them lies evenly over all: their bits read backwards."""
    return f"{index:032b}"[::-1]


def _position(place: Place) -> tuple[int, str, int, int]:
    # Labels are D1, D2, ..., D10: the shorter come first.
    return len(place.document), place.document, place.start, place.end


def _overlapping(lanes: dict[str, list[tuple[int, int, _Candidate]]], place: Place) -> _Candidate | None:
    lane = lanes.get(place.document, [])
    at = bisect.bisect_left(lane, place.end, key=lambda each: each[0]) - 1
    return lane[at][2] if at >= 0 and lane[at][1] > place.start else None


def _insert(lanes: dict[str, list[tuple[int, int, _Candidate]]], candidate: _Candidate) -> _Candidate:
    place = candidate.finding.place
    bisect.insort(lanes.setdefault(place.document, []), (place.start, place.end, candidate), key=lambda each: each[0])
    return candidate
