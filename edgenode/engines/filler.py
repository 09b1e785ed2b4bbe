"""Makes a reply that fits a JSON schema, by rule and without any model: what the deterministic test engine writes."""

import json
import re
from typing import Any, Final

from edgenode.errors import EngineError

_DEPTH: Final = 32
_TEXT_CHARACTERS: Final = 60
_ITEMS: Final = 100
_PADDING: Final = 10_000
# Kana are left out of what counts as shared: they are particles and endings more often than words.
_CJK: Final = "\u3400-\u4dbf\u4e00-\u9fff\u30a0-\u30ff\uac00-\ud7af"
_SPACELESS: Final = re.compile(f"[{_CJK}]+")
_WORD: Final = re.compile(f"[^\\W_{_CJK}\u3040-\u309f]+")
_TOKEN: Final = re.compile(f"[{_CJK}\u3040-\u309f]|[^\\W{_CJK}\u3040-\u309f]+|[^\\w\\s]")
_STOP_WORDS: Final = frozenset(
    """
    a about all an and any are as at be been before but by can did do does each every find for from had has have how i if in is
    it its list may me must my name no not of on one or our out quote say sentence shall should so tell than that the their them
    then there these they this those to up us was we were what when where which who whom whose why will with would you your
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is no easier to read
)


def tokens(text: str) -> list[str]:
    """Stand-ins for a model's tokens: words, single ideographs and kana, and punctuation marks."""
    return _TOKEN.findall(text)


def fill(schema: Any, user: str) -> Any:
    """A value that conforms to `schema`, chosen by the instruction in `user`: what follows the last of the schema's options.

    An `enum` of strings gives the option that shares the most words (in scripts without spaces, pairs of characters) with the
    instruction, the first of equals, and null, where that is an option, when nothing is shared. Other enums give their first
    option, booleans are true, strings are short. Raises `EngineError` for a schema it cannot serve.
    """
    text = " ".join(user.split())
    try:
        return _fill(schema, _instruction(text, _options(schema)), 0)
    except (TypeError, ValueError, AttributeError, LookupError):
        raise EngineError("The deterministic engine cannot fill this schema.") from None


def _fill(schema: Any, instruction: str, depth: int) -> Any:
    if depth > _DEPTH:
        raise ValueError("nested too deep")
    if "const" in schema:
        return schema["const"]
    if isinstance(enum := schema.get("enum"), list) and enum:
        return _choose(enum, instruction)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _fill(schema[key][0], instruction, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    match kind:
        case "object":
            return {name: _fill(each, instruction, depth + 1) for name, each in schema.get("properties", {}).items()}
        case "array":
            count = min(max(schema.get("minItems", 0), min(1, schema.get("maxItems", 1))), _ITEMS)
            filled = [_fill(schema.get("items", {"type": "null"}), instruction, depth + 1) for _ in range(count)]
            return [] if filled == [None] and not schema.get("minItems") else filled
        case "string":
            return _string(schema, instruction)
        case "integer":
            return int(schema.get("minimum", 0))
        case "number":
            return float(schema.get("minimum", 0))
        case "boolean":
            return True
        case "null":
            return None
    raise ValueError("no such type")


def _string(schema: dict[str, Any], instruction: str) -> str:
    # Words alone: a number, a day or a name would be a claim.
    words = " ".join(re.findall(r"[^\W\d_]+", instruction.lower()))
    text = f"re: {words}"[: min(_TEXT_CHARACTERS, schema.get("maxLength", _TEXT_CHARACTERS))].rstrip()
    return text.ljust(min(schema.get("minLength", 0), _PADDING), ".")


def _choose(enum: list[Any], instruction: str) -> Any:
    options = [option for option in enum if isinstance(option, str)]
    if not options or len(options) + enum.count(None) != len(enum):
        return enum[0]
    wanted = _features(instruction)
    scores = [len(wanted & _features(option)) for option in options]
    if None in enum and max(scores) == 0:
        return None
    return options[scores.index(max(scores))]


def _features(text: str) -> set[str]:
    text = text.casefold()
    words = {word.removesuffix("s") for word in _WORD.findall(text)} - {word.removesuffix("s") for word in _STOP_WORDS}
    pairs = {run[at : at + 2] for run in _SPACELESS.findall(text) for at in range(max(1, len(run) - 1))}
    return words | pairs


def _instruction(text: str, options: list[str]) -> str:
    ends = [at + len(option) for option in options if option and (at := text.rfind(option)) >= 0]
    return text[max(ends, default=0) :].strip(' -=#*"') or text


def _options(schema: Any) -> list[str]:
    """All strings in enums anywhere in `schema`, with white space folded."""
    found: list[str] = []
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case {"enum": [*values]}:
                found += [" ".join(value.split()) for value in values if isinstance(value, str)]
            case dict() as node:
                waiting += node.values()
            case list() as nodes:
                waiting += nodes
    return found


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
