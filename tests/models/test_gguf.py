"""Reading GGUF headers: what real files say, and what broken and hostile ones must not do."""

import contextlib
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenode.errors import ModelFileError
from edgenode.models.gguf import read_header
from tests.models.gguf_files import ARRAY, STRING, assemble, entries, entry, tensor, text, tiny_gguf, write_gguf

# All examples may write to the same folder. What is named here takes the place of what is suppressed for all tests, so it says that
# again: nobody is judged by the clock.
UNTIMED_IN_ONE_FOLDER = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


def refusal(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence


def test_header_tells_what_the_file_holds(tmp_path: Path) -> None:
    """A complete file's name, kind, size and licence are read from its header."""
    data = tiny_gguf(weights=128, name="Tiny Test", licence="mit", context=4096)
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    header = read_header(path)
    assert (header.name, header.architecture, header.quantization) == ("Tiny Test", "llama", "Q4_1")
    assert (header.context_length, header.licence, header.chat_template) == (4096, "mit", True)
    assert header.parameters == 32 + 128
    assert header.needed_bytes == len(data)
    assert header.data_offset == len(data) - 128 - 4 * 20


def test_the_real_model_is_read_whole(real_model: Path) -> None:
    """The header of a real file is understood to the last byte."""
    header = read_header(real_model)
    assert (header.architecture, header.quantization, header.context_length) == ("llama", "Q4_1", 8192)
    assert (header.licence, header.parameters, header.chat_template) == ("apache-2.0", 134_515_008, True)
    assert header.needed_bytes == real_model.stat().st_size


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_are_read(tmp_path: Path, version: int) -> None:
    """Versions 2 and 3 have one layout."""
    path = tmp_path / "model.gguf"
    path.write_bytes(assemble(entries(), [tensor("w", (32, 1), 8, 0)], bytes(34), version=version))
    assert read_header(path).parameters == 32


def test_a_header_that_is_silent_gives_empty_fields(tmp_path: Path) -> None:
    """Licence, name, context and chat template may be missing; the quantization then comes from the tensors."""
    path = tmp_path / "model.gguf"
    tensors = [tensor("norm", (32,), 0, 0), tensor("w", (256, 2), 12, 128)]
    path.write_bytes(assemble([entry("general.architecture", STRING, "gemma3")], tensors, bytes(128 + 288)))
    header = read_header(path)
    assert (header.name, header.licence, header.context_length, header.chat_template) == ("", "", 0, False)
    assert header.quantization == "Q4_K"


def test_a_licence_of_its_own_is_told_by_its_name(tmp_path: Path) -> None:
    """`other` says nothing, so the name that goes with it is shown."""
    made = [*entries(licence="other"), entry("general.license.name", STRING, "llama3.2")]
    path = tmp_path / "model.gguf"
    path.write_bytes(assemble(made, [tensor("w", (32,), 0, 0)], bytes(128)))
    assert read_header(path).licence == "llama3.2"


def test_texts_are_cleaned_and_capped(tmp_path: Path) -> None:
    """What the file says can neither move the cursor nor fill the screen."""
    path = write_gguf(tmp_path / "model.gguf", name="a\x1b[2J\nb\u202e" + "c" * 5000, licence="x\r\n\x07y")
    header = read_header(path)
    assert header.name.isprintable()
    assert header.name.startswith("a [2J bccc")
    assert len(header.name) <= 200
    assert header.licence == "x y"


def test_unknown_tensor_types_are_believed_to_start_in_the_file(tmp_path: Path) -> None:
    """A quantization newer than this version does not make a file unreadable."""
    path = tmp_path / "model.gguf"
    path.write_bytes(assemble(entries(), [tensor("w", (64, 2), 999, 0)], bytes(10)))
    assert read_header(path).parameters == 128


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "a web page"),
        (b"\n\n  <html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b'{"error": "gated"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (struct.pack("<Q", 400) + b'{"__metadata__"', "safetensors"),
        (bytes(4096), "full of zeros"),
        (b"lmgg" + bytes(50), "old GGML format"),
        (b"hello there, this is text", "not a GGUF file"),
        (b"GGU", "not a GGUF file"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(tmp_path: Path, data: bytes, word: str) -> None:
    """Each kind of wrong file gets a sentence that says what it is."""
    assert word in refusal(tmp_path, data)


@pytest.mark.parametrize("context", [2**32 - 1, 2**32, 2**63])
def test_a_context_that_no_message_can_carry_is_refused(tmp_path: Path, context: int) -> None:
    """A header that tells one is damaged, or lies."""
    head = [entry("general.architecture", STRING, "llama"), entry("llama.context_length", 10, context)]
    data = assemble(head, [tensor("norm", (32,), 0, 0)], bytes(128))
    if context < 2**32:
        (tmp_path / "model.gguf").write_bytes(data)
        assert read_header(tmp_path / "model.gguf").context_length == context
    else:
        assert str(context) in refusal(tmp_path, data)


def test_more_weights_than_a_message_can_count_are_refused(tmp_path: Path) -> None:
    """Each tensor may be possible; all together they are not."""
    tensors = [tensor(str(number), (1 << 49,), 200, 0) for number in range(40_000)]
    assert "impossible" in refusal(tmp_path, assemble([entry("general.architecture", STRING, "llama")], tensors, b""))


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    """What is not an ordinary file is refused without being opened, so that a pipe cannot hang the reader."""
    os.mkfifo(tmp_path / "pipe.gguf")
    for path, word in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.gguf", "not an ordinary file"),
        (tmp_path / "no.gguf", "cannot be read"),
    ):
        with pytest.raises(ModelFileError, match=word):
            read_header(path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_header(Path("zero\0byte"))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (assemble(entries(), [tensor("w", (32,), 0, 0)], bytes(128), version=1), "version 1"),
        (assemble(entries(), [tensor("w", (32,), 0, 0)], bytes(128), version=0x03000000), "big-endian"),
        (assemble(entries(), [], b""), "no weights"),
        (assemble([], [tensor("w", (32,), 0, 0)], bytes(128)), "no architecture"),
        (assemble([*entries(), entry("split.count", 2, 3)], [tensor("w", (32,), 0, 0)], bytes(128)), "split model"),
        (
            assemble([*entries(), entry("general.type", STRING, "adapter")], [tensor("w", (32,), 0, 0)], bytes(128)),
            "no language model",
        ),
        (assemble(entries(architecture="clip"), [tensor("w", (32,), 0, 0)], bytes(128)), "image projector"),
        (assemble(entries(), [tensor("w", (33,), 3, 0)], bytes(128)), "impossible size"),
        (assemble(entries(), [tensor("w", (2**63, 2**63), 0, 0)], bytes(128)), "impossible size"),
        (assemble(entries(), [tensor("w", (1,) * 9, 0, 0)], bytes(128)), "number of dimensions"),
        (assemble([*entries(), entry("general.alignment", 4, 33)], [tensor("w", (32,), 0, 0)], bytes(128)), "alignment"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "number of tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "number of entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62), "number of characters"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("k") + struct.pack("<I", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("k") + struct.pack("<IIQ", ARRAY, 77, 1), "list of unknown type"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("k") + struct.pack("<IIQ", ARRAY, STRING, 2**63), "long list"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("k") + struct.pack("<IIQ", ARRAY, 10, 2**63), "ends within its header"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 9,
            "list of unknown",
        ),
        (b"GGUF", "ends within its header"),
    ],
)
def test_a_damaged_or_unusable_header_is_refused_with_its_reason(tmp_path: Path, data: bytes, word: str) -> None:
    """Impossible counts, unknown types and GGUF files that are no model are refused before anything large is read."""
    assert word in refusal(tmp_path, data)


def test_a_file_that_ends_early_is_cut_short(tmp_path: Path) -> None:
    """A file that lacks even one byte of its last tensor is refused, with both sizes."""
    sentence = refusal(tmp_path, tiny_gguf(weights=32 * 1000)[:-1])
    assert "is cut short: it holds 20." in sentence
    assert "Fetch it again" in sentence


@given(length=st.integers(min_value=0, max_value=len(tiny_gguf()) - 1))
@settings(suppress_health_check=UNTIMED_IN_ONE_FOLDER)
def test_every_truncation_is_refused(tmp_path: Path, length: int) -> None:
    """Wherever a download stops, the piece is not taken for a model."""
    refusal(tmp_path, tiny_gguf()[:length])


@given(flips=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=8), tail=st.binary(max_size=64))
@settings(suppress_health_check=UNTIMED_IN_ONE_FOLDER, max_examples=400)
def test_damage_anywhere_is_at_worst_a_model_file_error(tmp_path: Path, flips: list[tuple[int, int]], tail: bytes) -> None:
    """Random bytes at random places never raise anything else, and never make the reader take more than a few megabytes."""
    data = bytearray(tiny_gguf())
    for place, value in flips:
        data[place % len(data)] = value
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(data) + tail)
    tracemalloc.start()
    try:
        with contextlib.suppress(ModelFileError):
            read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@given(data=st.binary(max_size=400))
@settings(suppress_health_check=UNTIMED_IN_ONE_FOLDER)
def test_random_bytes_after_the_magic_are_refused(tmp_path: Path, data: bytes) -> None:
    """Noise behind the right first bytes is refused like any other noise."""
    refusal(tmp_path, b"GGUF\x03\0\0\0" + data)
