"""The engines that a node can be told to use."""

from typing import Final

from edgenode.device.status import cores

XLLAMACPP: Final = "xllamacpp"
LLAMA_CPP_PYTHON: Final = "llama-cpp-python"
DETERMINISTIC: Final = "deterministic"
ENGINES: Final = (XLLAMACPP, LLAMA_CPP_PYTHON, DETERMINISTIC)


def default_threads() -> int:
    """All cores but one, at least one.

    llama.cpp's threads spin while they wait for one another: as soon as other programs want one of their cores, all of them crawl
    (beside a busy process, 2 threads on 2 cores wrote 1 token a second, 1 thread 56).
    """
    return max(1, cores() - 1)
