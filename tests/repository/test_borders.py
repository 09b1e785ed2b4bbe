"""Reads every import of the two packages and says where a library or a room has been used outside its border."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Library (or package of ours): the rooms that may import it. A room holds all modules whose names begin with it.
BORDERS = {
    "grpc": ("edgenode.net", "edgenode.v1"),
    "google.protobuf": ("edgenode.net", "edgenode.v1"),
    "edgenode.v1": ("edgenode.net", "edgenode.v1"),
    "zeroconf": ("edgenode.net.announced", "edgenode.net.discovery", "edgenode.net.multicast"),
    "ifaddr": ("edgenode.net.interfaces",),
    "cryptography": ("edgenode.trust",),
    "spake2": ("edgenode.trust.pake",),
    "segno": ("edgenode.commands.code",),
    "httpx2": ("edgenode.engines", "edgenode.models", "coordinator.cloud"),
    "xllamacpp": ("edgenode.engines.xllamacpp",),
    "llama_cpp": ("edgenode.engines.llama_cpp",),
    "uvicorn": ("edgenode.engines.llama_cpp",),
    "psutil": ("edgenode.device.status",),
    "tqdm": ("edgenode.models.progress",),
    "openai": ("coordinator.cloud.supervisor",),
    "genai_prices": ("coordinator.cloud.prices",),
    "numpy": ("coordinator.documents", "coordinator.scheduling"),
    "pypdfium2": ("coordinator.documents.pdf.characters",),
    "rapidocr": ("coordinator.documents.ocr.engine",),
    "PIL": ("coordinator.documents.ocr",),
    "selectolax": ("coordinator.documents",),
    "bm25s": ("coordinator.documents",),
    "charset_normalizer": ("coordinator.documents",),
    "rich": ("coordinator.view", "coordinator.account", "coordinator.nodes_view", "coordinator.commands"),
    "sqlite3": ("coordinator.runs",),
    "coordinator": ("coordinator",),
}
PURE = ("coordinator.scheduling", "coordinator.minions")
IMPURE = ("asyncio", "threading", "time", "logging", "socket", "edgenode.net", "coordinator.cloud", "coordinator.runs")


class Import(NamedTuple):
    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported} (line {self.line})"


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def imports_of(importer: str, tree: ast.AST, package: str) -> Iterator[Import]:
    """All imports of a module, at its top or deep inside. `from a import b` counts as `a.b`: it may be the module b of a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(importer, name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(importer, f"{source}.{name.name}", node.lineno) for name in node.names)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted([*ROOT.glob("edgenode/**/*.py"), *ROOT.glob("coordinator/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        package = ".".join(parts[:-1])
        importer = package if parts[-1] == "__init__" else ".".join(parts)
        found += imports_of(importer, ast.parse(path.read_text(encoding="utf-8")), package)
    return found


@pytest.mark.parametrize("library", BORDERS)
def test_each_library_has_one_border(library: str) -> None:
    """Nobody outside its rooms imports a library, not even for its types."""
    trespassers = [
        str(each)
        for each in all_imports()
        if within(each.imported, library) and not any(within(each.importer, room) for room in BORDERS[library])
    ]
    assert trespassers == []


def test_policy_is_pure() -> None:
    """Scheduling and the protocol know no event loop, no clock, no log, no network and nobody who uses them."""
    impure = [
        str(each)
        for each in all_imports()
        if any(within(each.importer, room) for room in PURE) and any(within(each.imported, name) for name in IMPURE)
    ]
    assert impure == []


def test_every_library_is_placed() -> None:
    """A library that is imported anywhere has a border, or is known to be everybody's."""
    everybodys = {"edgenode", "platformdirs", "filelock", *sys.stdlib_module_names}
    known = everybodys | {library.split(".")[0] for library in BORDERS}
    assert {str(each) for each in all_imports() if each.imported.split(".")[0] not in known} == set()


def test_the_reader_of_imports_sees_them() -> None:
    """Imports in functions, of types alone, relative ones and submodules by `from` are all seen."""
    code = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import grpc.aio
def late():
    from edgenode import v1
    from . import sibling
    from ..net import wire
"""
    seen = {each.imported for each in imports_of("edgenode.models.x", ast.parse(code), "edgenode.models")}
    assert seen == {"typing.TYPE_CHECKING", "grpc.aio", "edgenode.v1", "edgenode.models.sibling", "edgenode.net.wire"}
