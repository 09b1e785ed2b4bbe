"""A question into its parts, and what kind of question it is. English and Japanese, by their outward signs; no model is asked."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from coordinator.types import Task
from edgenode.errors import UsageError

MAX_TASKS: Final = 5
"""Each task is asked of each chunk that is read for it: a pasted page of questions must not multiply the reading without bound."""
MAX_CONTEXT_CHARACTERS: Final = 300
"""Of the whole question, as much goes along with a part that needs it."""

_NESTED: Final = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|「[^」]*」|『[^』]*』|\([^()]*\)|（[^（）]*）|\[[^\[\]]*\]|【[^】]*】")
_HIDDEN: Final = "\ue000"
"""Stands for each letter inside quotation marks or brackets while a question is divided."""
_ITEM: Final = re.compile(r"^\s*(?:[-*•・‣]\s*|\(?[0-9０-９]{1,2}[.)．）、]\s*|\(?[a-h][.)]\s+|[①-⑳]\s*)(?=\S)", re.MULTILINE)
_INLINE_ITEM: Final = re.compile(r"(?:(?<=\s)|^)\(?([1-9])[.)]\s+")
_SENTENCE_END: Final = re.compile(r"[?？。！!;；]+[」』\"”)）]*|(?<!\b[A-Za-z])\.(?=\s|$)|\n")

# English. "that" and "whether" ask nothing; a yes-no question begins with its verb.
_WH: Final = r"(?:what|when|where|whereby|which|who|whom|whose|why|how)(?:['’](?:s|re|d|ll))?"
_AUXILIARY: Final = r"(?:is|are|was|were|am|do|does|did|can|could|must|should|shall|will|would|may|might|has|have|had)(?:n['’]t)?"
_VERB_FIRST: Final = (
    rf"{_AUXILIARY}\s+"
    r"(?:there|it|this|that|these|those|the|a|an|any|all|we|i|you|he|she|they|my|our|your|his|her|their|its|one|anyone|someone|everyone)"
)
_ASKS: Final = re.compile(rf"\b{_WH}\b|^\W*(?:(?:and|or|but)\s+)?{_AUXILIARY}\s+\w", re.IGNORECASE)
_COMMANDS: Final = re.compile(
    r"^\W*(?:please\s+)?(?:list|name|find|give|tell|explain|describe|compare|show|quote|state|identify|summari[sz]e|outline|say)\b",
    re.IGNORECASE,
)
_PREPOSITION: Final = r"(?:by|at|to|from|in|on|of|for|with|within|under|after|before|until|since|about)"
# Without a conjunction only what cannot be a relative clause ("the tenant, who signed in May, ...").
_COORDINATION: Final = re.compile(
    rf"(?:\s*,\s*|\s+)(?:and|or|but|as\s+well\s+as)\s+(?=(?:also\s+|then\s+|if\s+so,?\s+)?(?:{_PREPOSITION}\s+)?{_WH}\b|{_VERB_FIRST}\b)"
    rf"|\s*,\s*(?=(?:what|why|when|where|how(?:\s+\w+)?)\s+{_AUXILIARY}\b)",
    re.IGNORECASE,
)
_EMPTY_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a an the and or but also then so if of to by at in on for from with within under after before until since about "
        "what when where whereby which who whom whose why how much many long often soon far is are was were am be been do "
        "does did can could must should shall will would may might has have had there we i you our my your us me please ",
    )
)
_POINTS_BACK: Final = re.compile(
    r"\b(?:it|its|they|them|their|theirs|this|that|these|those|he|she|him|his|her|one|so|such|same|else|then|there)\b",
    re.IGNORECASE,
)

# Japanese. An interrogative followed by も, でも or か means "any" or "some" and asks nothing; か at a clause's end asks.
_JA_WH: Final = (
    r"(?:何[年月日時分人回件個本枚円歳階台]?|なに|なん(?=で|の|と|時|日|です)|いつ|どこ|どなた|誰|だれ|どの|どれ|どんな|どちら|どう(?!ぞ|し(?:ても|ろ))"
    r"|なぜ|いくら|いくつ|幾ら|いかが)"
)
_JA_INDEFINITE: Final = r"(?!で?も|か(?![らい]|[。、？?\s]|$))"
_JA_ASKS: Final = re.compile(rf"{_JA_WH}{_JA_INDEFINITE}|か[。、？?\s]*$")
_JA_CLAUSE_END: Final = re.compile(r"[、，]")
_JA_TOPIC: Final = re.compile(r"[\u30a0-\u30ff\u3400-\u9fffA-Za-z0-9](?:は|が|を)")
_JA_REQUEST: Final = re.compile(r"(?:は|が|を|について|に関して)[^。]*(?:くだ|下)さい")
_JA_POINTS_BACK: Final = re.compile(r"(?:そ|こ|あ)(?:れ|の|ちら|こ)")
_JAPANESE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")

_OVERVIEW: Final = re.compile(
    r"\bsummar(?:y|ies|i[sz](?:e|es|ing|ation))\b|\boverviews?\b|\bgist\b|\btl;?dr\b|\btakeaways?\b|\bin a nutshell\b"
    r"|\b(?:main|key|central|important|principal|chief|major)\s+(?:points?|ideas?|topics?|themes?|messages?|facts?|arguments?|terms|findings"
    r"|conclusions?|content|contents)\b"
    r"|\b(?:outline|describe|explain)\s+(?:this|the|these|my|our)\s+(?:whole\s+|entire\s+)?(?:documents?|texts?|files?|contracts?|letters?"
    r"|reports?|papers?|books?|manuals?|articles?)\s*[.?!]*$"
    r"|\bwhat(?:['’]s|\s+is|\s+are|\s+was|\s+were)\s+(?:this|it|these|they|(?:(?:this|the|these|my|our)\s+)?(?:documents?|texts?|files?|contracts?"
    r"|letters?|reports?|papers?|books?|manuals?|articles?|speech|speeches|story|minutes|leases?))\s+(?:all\s+|mainly\s+)?about\b"
    r"|\b(?:list|name|find|give|show|enumerate|extract|collect|quote|identify)\b(?:\s+\w+){0,2}?\s+(?:all|every|each)\b"
    r"|\bwhat\s+are\s+all\b|\b(?:whole|entire)\s+(?:document|text|file|contract|report|book)\b"
    r"|要約|概要|要点|要旨|まとめ|全体|すべて|全て|あらまし|サマリ|一覧|列挙|ざっと|一通り|何について|主な(?:内容|点|ポイント|論点)"
    r"|どんな(?:内容|文書|書類|話)|どのような(?:内容|文書|書類)",
    re.IGNORECASE,
)


def split_question(question: str) -> tuple[Task, ...]:
    """The parts of a question as tasks, at most `MAX_TASKS`, each of which a small reader understands by itself: a part that does
    not stand alone carries the whole question ("by when? (Part of: ...)"). Most questions are one task, the question itself.

    Divides at list items, ends of sentences, semicolons, coordinated interrogatives and Japanese clauses, where each side asks
    something; never inside quotation marks or brackets. Raises `UsageError` for a question without any letter.
    """
    if not any(character.isalpha() for character in question):
        raise UsageError('The question holds no words. Give one, such as "What must we do before we move out?".')
    whole = " ".join(question.split())
    masked = _NESTED.sub(lambda match: "".join(_HIDDEN if each.isalpha() else "_" for each in match.group()), question)
    introduction, spans = _list_items(masked) or _sentences(masked)
    parts = [_tidy(question[begin:end]) for begin, end in spans]
    if len(parts) < 2:
        return (Task(0, whole),)
    if len(parts) > MAX_TASKS:
        parts = [*parts[: MAX_TASKS - 1], " ".join(parts[MAX_TASKS - 1 :])]
    context = whole if len(whole) <= MAX_CONTEXT_CHARACTERS else whole[: MAX_CONTEXT_CHARACTERS - 1] + "…"
    return tuple(
        Task(index, part if (_stands_alone(part) and not introduction) or begin == 0 else f"{part} (Part of: {context})")
        for index, (part, (begin, _)) in enumerate(zip(parts, spans, strict=False))
    )


def is_overview(question: str) -> bool:
    """Whether the answer may be spread over the whole document, so that no chunk may be left out (English and Japanese)."""
    return _OVERVIEW.search(" ".join(question.split())) is not None


def _list_items(masked: str) -> tuple[bool, list[tuple[int, int]]] | None:
    """Spans of the items of a list, one a line or numbered from 1 within a line, and whether something introduces it."""
    marks = [match.span() for match in _ITEM.finditer(masked)]
    if len(marks) < 2:
        marks = []
        for match in _INLINE_ITEM.finditer(masked):
            if int(match.group(1)) == len(marks) + 1:
                marks.append(match.span())
    if len(marks) < 2:
        return None
    ends = [*(begin for begin, _ in marks[1:]), len(masked)]
    spans = [(begin, end) for (_, begin), end in zip(marks, ends, strict=True) if _worded(masked[begin:end])]
    return bool(masked[: marks[0][0]].strip()), spans


def _sentences(masked: str) -> tuple[bool, list[tuple[int, int]]]:
    """Spans of the clauses that ask, the first from 0; and whether the first begins with a sentence that asks nothing. What asks
    nothing goes with what follows it, at the end with the last."""
    ends = [match.end() for match in _SENTENCE_END.finditer(masked)]
    parts: list[tuple[int, int]] = []
    introduction, start = False, 0
    for begin, end in pairwise(dict.fromkeys((0, *ends, len(masked)))):
        if not _asks(masked[begin:end]):
            continue
        introduction |= not parts and begin > 0
        for cut in _cuts(masked, begin, end):
            parts.append((start, cut))
            start = cut
    if parts:
        parts[-1] = (parts[-1][0], len(masked))
    return introduction, parts


def _cuts(masked: str, begin: int, end: int) -> Iterator[int]:
    """Where a sentence divides into clauses that each ask something by themselves; its end is the last."""
    sentence = masked[begin:end]
    pattern = _JA_CLAUSE_END if _JAPANESE.search(sentence) else _COORDINATION
    start = 0
    for cut in (match.end() for match in pattern.finditer(sentence)):
        if _interrogative(sentence[start:cut]) and _full(sentence[start:cut]) and _interrogative(sentence[cut:]):
            yield begin + cut
            start = cut
    yield end


def _asks(sentence: str) -> bool:
    return _worded(sentence) and (_interrogative(sentence) or bool(_COMMANDS.search(sentence) or _JA_REQUEST.search(sentence)))


def _worded(text: str) -> bool:
    return any(character.isalpha() or character == _HIDDEN for character in text)


def _interrogative(text: str) -> bool:
    pattern = _JA_ASKS if _JAPANESE.search(text) else _ASKS
    return bool(pattern.search(text)) or text.rstrip().endswith(("?", "？"))


def _full(text: str) -> bool:
    """Whether a clause says more than its interrogative: "when and where is it" is one question."""
    if _JAPANESE.search(text):
        return bool(re.search(r"[\u30a0-\u30ff\u3400-\u9fffA-Za-z]{2}", re.sub(_JA_WH, "", text)))
    words = _words(text)
    weighty = [word for word in words if word not in _EMPTY_WORDS]
    # Before a comma one word of weight is enough ("who pays, and when"), else two ("on what date and at what time").
    return len(words) > 3 or len(weighty) >= (1 if re.search(r",\s*(?:(?:and|or|but)\s*)?$", text, re.IGNORECASE) else 2)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.replace(_HIDDEN, "x").lower())


def _stands_alone(part: str) -> bool:
    if _JAPANESE.search(part):
        return bool(_JA_TOPIC.search(re.sub(_JA_WH, "", part))) and not _JA_POINTS_BACK.search(part)
    return sum(word not in _EMPTY_WORDS for word in _words(part)) >= 3 and not _POINTS_BACK.search(part)


def _tidy(part: str) -> str:
    part = " ".join(part.split()).strip(" ,、，;；")
    return re.sub(r"(?<=\w),?\s+(?:and|or|but|as well as)$|^(?:and|but|or|also)\s+(?=\w)", "", part, flags=re.IGNORECASE)
