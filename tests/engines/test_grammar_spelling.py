"""Schemas and replies of llama-cpp-python."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from edgenode.engines.grammar_spelling import plain_options, well_formed

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_option_comes_back(text: str) -> None:
    """However an option has to be spelt for the grammar, a reply that writes it so parses to the option itself."""
    (spelt,) = plain_options({"properties": {"quote": {"enum": [text]}}})["properties"]["quote"]["enum"]
    # The library writes JSON of the option into a grammar, whose one layer of escapes undoes that of JSON.
    assert json.loads(f'"{spelt}"') == text


@given(TEXT)
def test_option_needs_no_escape(text: str) -> None:
    """In the spelling no quotation mark, control character or split character is left; a backslash only begins \\\\uXXXX."""
    spelt = plain_options({"const": text})["const"]
    rest = re.sub(r"\\u[0-9a-f]{4}", "", spelt)
    assert not re.search(r'["\\\x00-\x1f]|[^\x00-\uffff]', rest)


def test_rest_of_a_schema_is_left_alone() -> None:
    """Only options are spelt anew: numbers, null, names and limits stay."""
    schema = {"type": "object", "properties": {'a"b': {"enum": [1, None, "x"]}, "c": {"maxLength": 3}}, "anyOf": [{"const": 2}]}
    assert plain_options(schema) == schema


def test_replies_are_made_json() -> None:
    """A raw line break in a string is escaped; a reply that was cut short stays as it was."""
    assert json.loads(well_formed('{"a": "x\ny\t敷"}')) == {"a": "x\ny\t敷"}
    assert well_formed('{"a": "x') == '{"a": "x'
