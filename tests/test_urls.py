"""URLs whose slashes were lost on the way."""

from pathlib import Path

import pytest

from coordinator.config import load_config
from edgenode.engines.choose import EngineSettings, choose_engine
from edgenode.errors import UsageError
from edgenode.models.sources import parse_source
from edgenode.text import with_slashes

EATEN = [
    ("http:/127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("https:host:8080", "https://host:8080"),
    ("HTTP:///host/v1", "http://host/v1"),
    ("https:host", "https://host"),
]


@pytest.mark.parametrize(("typed", "meant"), EATEN)
def test_what_was_meant_is_named_wherever_a_url_is_given(typed: str, meant: str, tmp_path: Path) -> None:
    """At each place that takes a URL the error tells what to type."""
    assert with_slashes(typed) == meant
    with pytest.raises(UsageError) as engine:
        choose_engine(EngineSettings(log=tmp_path / "log", engine_url=typed))
    with pytest.raises(UsageError) as source:
        parse_source(typed)
    with pytest.raises(UsageError) as supervisor:
        load_config({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": typed})
    for caught in (engine, source, supervisor):
        assert meant in str(caught.value)


@pytest.mark.parametrize("typed", ["http://host", "https://host:1/a//b", "host", "hf:owner/repo", "http:", "http:/", "C:/a", ""])
def test_others_are_left_alone(typed: str) -> None:
    """What has its slashes, and what is no such URL."""
    assert not with_slashes(typed)
