"""Short names of models: each a file on Hugging Face, fetched like any other, and one that suits the device."""

import pytest

from edgenode.models.catalogue import CATALOGUE, RECOMMENDED_SHARE, recommended
from edgenode.models.names import SUFFIX
from edgenode.models.pull import pull
from edgenode.models.sources import WebFile, parse_source
from edgenode.models.store import Store
from tests.end_to_end.pools import run
from tests.models.file_server import FileServer, Page
from tests.models.gguf_files import tiny_gguf


def test_every_name_is_one_file_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted by size, no name twice."""
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for each in CATALOGUE:
        place = parse_source(each.name)
        assert isinstance(place, WebFile)
        assert place.hub
        assert place.name.endswith(SUFFIX)
        assert place == parse_source(each.source)
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)
    assert [each.megabytes for each in CATALOGUE] == sorted(each.megabytes for each in CATALOGUE)


@pytest.mark.parametrize("gigabytes", [0.5, 1, 2, 4, 8, 16, 64])
def test_the_recommended_model_leaves_the_device_room(gigabytes: float) -> None:
    """The largest that may be recommended and takes no more than its share, or the smallest of all."""
    best = recommended(int(gigabytes * 1e9))
    room = gigabytes * 1000 * RECOMMENDED_SHARE
    assert best.megabytes <= room or best is CATALOGUE[0]
    assert all(each.megabytes <= best.megabytes or each.megabytes > room for each in CATALOGUE if each.recommended)


def test_a_model_is_fetched_by_its_short_name(store: Store, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the place that the list names."""
    server.pages["/Qwen/Qwen2.5-1.5B-Instruct-GGUF/resolve/main/qwen2.5-1.5b-instruct-q4_k_m.gguf"] = Page(tiny_gguf())
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    assert pull("qwen2.5:1.5b", store).name == "qwen2.5-1.5b-instruct-q4_k_m"


def test_without_a_source_it_recommends_one() -> None:
    """And fetches nothing."""
    told = run("edgenode", "pull", "--json").json
    assert told["recommended"] in {each["name"] for each in told["models"]}
    assert f"edgenode pull {told['recommended']}" in run("edgenode", "pull", "--list").out
    assert Store().listing().models == ()
