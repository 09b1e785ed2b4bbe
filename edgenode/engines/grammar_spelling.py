"""JSON schemas as llama-cpp-python can bear them, and its replies as JSON should be."""

import json
from typing import Any


def plain_options(schema: Any) -> Any:
    """`schema` with every string of an `enum` or `const` spelt so that nothing in it needs escaping.

    llama-cpp-python turns a schema into a grammar without escaping backslashes (seen in 0.3.36): a sentence with a quotation mark
    in it makes a grammar that does not parse, and then a SIGSEGV. Spelt as JSON's own `\\uXXXX`, which the model then writes, the
    reply parses to the same string.
    """
    match schema:
        case dict():
            return {key: _plain(value) if key in ("enum", "const") else plain_options(value) for key, value in schema.items()}
        case list():
            return [plain_options(each) for each in schema]
        case _:
            return schema


def well_formed(reply: str) -> str:
    """`reply` with the control characters escaped that its grammars let into strings; as it was if it is no JSON all the same."""
    try:
        return json.dumps(json.loads(reply, strict=False), ensure_ascii=False)
    except (ValueError, RecursionError):
        return reply


def _plain(value: Any) -> Any:
    match value:
        case str():
            return "".join(_spell(character) if _needs_it(character) else character for character in value)
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _needs_it(character: str) -> bool:
    # Beyond U+FFFF its grammar gets two halves of a character, which no token matches.
    return character in '"\\' or character < " " or character > "\uffff"


def _spell(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
