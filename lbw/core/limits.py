"""Limits on texts, files and requests: far above real use, and low enough to keep the program responsive.

If one is exceeded, the error message names it.
"""

from __future__ import annotations

from .errors import LbwError, quote
from .texts import t

TAG_CHARACTERS = 20_000
"""Of one tag, and of the text of block weights: two thousand numbers with their commas."""

PROMPT_CHARACTERS = 1_000_000
"""Of one prompt."""

PRESET_NAME_CHARACTERS = 255

PRESET_FILE_BYTES = 16 << 20
"""Of a preset file: fifty thousand presets of 61 numbers."""

WEIGHT = 1_000.0
"""The largest block weight, and the largest `X`; beyond it half precision overflows."""

HEADER_BYTES = 100_000_000
"""Of a safetensors header; the limit of the format's own library."""

TENSORS = 100_000
"""Of a safetensors file; the largest checkpoints have a few thousand, a LoKr for one of them about ten thousand."""

TENSOR_NAME_CHARACTERS = 512
TENSOR_DIMENSIONS = 8

AXIS_VALUES = 10_000
"""Of one axis of a grid."""

PICTURES = 10_000
"""Of one grid or one analysis: days of work."""

STEPS = 1_000
"""Sampling steps of a picture."""

PICTURE_SIDE = 8_192
"""Pixels."""

GUIDANCE = 1_000.0
"""The CFG scale."""

SEED = 2**63 - 1 - 1_000
"""The largest seed, which an analysis counts up from."""

SEEDS = 1_000
"""Of an analysis."""

PROMPTS = 100
"""Of an analysis."""

BODY_BYTES = 2 * PRESET_FILE_BYTES
"""Of a request: a preset file, encoded as JSON."""

ANALYSES = 20
"""Analyses that wait for their turn."""


def check_length(text: str, most: int, what: str, error: type[LbwError]) -> None:
    """Raise `error` if `text`, which `what` names, has more than `most` characters."""
    if len(text) > most:
        counts = {"count": f"{len(text):,}", "most": f"{most:,}"}
        raise error(
            t("{what} has {count} characters; the limit is {most}: {text}", what=what, text=quote(text, 40), **counts)
        )
