"""Short names of a few well-known models, and where Hugging Face has them as one quantized file."""

import difflib
from dataclasses import dataclass
from typing import Final

RECOMMENDED_SHARE: Final = 0.3
"""Part of the device's memory that a recommended model's file takes at most. More would fit, but such a device reads it slowly."""


@dataclass(frozen=True, slots=True)
class Known:
    """`megabytes` is the file's size, about."""

    name: str
    source: str
    """As `edgenode pull` takes it: hf:OWNER/REPO/FILE."""
    megabytes: int
    licence: str
    recommended: bool = False
    """Whether it may be recommended: the best of its size for reading in many languages whose licence lets an office use it."""

    @property
    def memory_gigabytes(self) -> float:
        """Memory that a device should have for it."""
        return self.megabytes / 1000 / RECOMMENDED_SHARE


CATALOGUE: Final = (
    Known("qwen2.5:0.5b", "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf", 491, "Apache-2.0", True),
    Known("llama3.2:1b", "hf:bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf", 808, "Llama 3.2"),
    Known("qwen2.5:1.5b", "hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf", 1117, "Apache-2.0", True),
    Known("gemma2:2b", "hf:bartowski/gemma-2-2b-it-GGUF/gemma-2-2b-it-Q4_K_M.gguf", 1709, "Gemma"),
    Known("llama3.2:3b", "hf:bartowski/Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2019, "Llama 3.2", True),
    Known("qwen2.5:3b", "hf:Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf", 2105, "Qwen Research"),
    Known("qwen2.5:7b", "hf:bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf", 4683, "Apache-2.0", True),
    Known("llama3.1:8b", "hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 4921, "Llama 3.1"),
)
"""By size."""


def known(name: str) -> Known | None:
    return next((each for each in CATALOGUE if each.name == name.casefold()), None)


def near(name: str) -> str | None:
    """The short name that was probably meant."""
    return next(iter(difflib.get_close_matches(name.casefold(), [each.name for each in CATALOGUE], n=1)), None)


def recommended(memory_bytes: int) -> Known:
    """For a device with so much memory; the smallest where none is small enough."""
    fitting = [each for each in CATALOGUE if each.recommended and each.megabytes * 1e6 <= memory_bytes * RECOMMENDED_SHARE]
    return (fitting or [CATALOGUE[0]])[-1]
