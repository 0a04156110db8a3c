"""A CLIP tokenizer with a small vocabulary: known words are one token, others fall to letters."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import data
from store import write_atomically, write_json

MAX_LENGTH = 32
"""Tokens of a prompt, the start and the end token included (CLIP has 77)."""
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END = "</w>"

OTHER_WORDS = [
    "a",
    "an",
    "the",
    "on",
    "in",
    "of",
    "with",
    "and",
    "is",
    "to",
    "at",
    "from",
    "no",
    "not",
    "very",
    "big",
    "tiny",
    "little",
    "picture",
    "drawing",
    "image",
    "photo",
    "background",
    "style",
    "shape",
    "colour",
    "color",
    "two",
    "many",
    "grey",
    "gray",
    "cyan",
    "gold",
    "silver",
    "robot",
    "fish",
    "tree",
    "cat",
    "dog",
    "flower",
    "ring",
    "arrow",
    "hexagon",
    "sand",
    "snow",
    "sea",
    "plain",
    "pixel",
    "sketch",
    "watercolour",
    "glowing",
    "bright",
    "dark",
    "medium",
    "huge",
    "best",
    "quality",
    "bad",
    "worst",
    "blurry",
]


def words() -> list[str]:
    """Every word that is a token of its own, in the order of the vocabulary."""
    ours = [*data.SHAPES, *data.COLOURS, *data.SIZES, *data.BACKGROUNDS, *data.STYLES]
    return list(dict.fromkeys([*ours, data.SUBJECT, data.STYLE, *OTHER_WORDS]))


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte (GPT-2's table), in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


def split(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding of one word with the merges known so far."""
    pieces = [*word[:-1], word[-1] + END]
    while True:
        pairs = [(ranks.get(p, len(ranks)), i) for i, p in enumerate(pairwise(pieces))]
        best = min(pairs, default=(len(ranks), 0))
        if best[0] == len(ranks):
            return pieces
        i = best[1]
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def merges_for(vocabulary: list[str]) -> list[tuple[str, str]]:
    """Merges that make every word one token; later ones never disturb an earlier word."""
    ranks: dict[tuple[str, str], int] = {}
    for word in vocabulary:
        pieces = split(word, ranks)
        while len(pieces) > 1:
            ranks.setdefault((pieces[0], pieces[1]), len(ranks))
            pieces = split(word, ranks)
    return list(ranks)


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token ids and merges, in CLIP's order: bytes, bytes that end a word, merges, two marks."""
    merges = merges_for(words())
    letters = byte_alphabet()
    tokens = [*letters, *(c + END for c in letters), *("".join(m) for m in merges), BOS, EOS]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges


def write_tokenizer(folder: Path, pad: str) -> None:
    """Writes the files of a ``CLIPTokenizer``; SDXL pads its first with EOS, its second with !."""
    ids, merges = vocabulary()
    lines = ["#version: 0.2", *(" ".join(m) for m in merges)]
    write_json(folder / "vocab.json", ids)
    text = "\n".join(lines) + "\n"
    write_atomically(folder / "merges.txt", lambda p: p.write_text(text, encoding="utf-8"))
    marks = {"bos_token": BOS, "eos_token": EOS, "pad_token": pad, "unk_token": EOS}
    write_json(folder / "special_tokens_map.json", marks)
    config = {
        **marks,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": MAX_LENGTH,
        "tokenizer_class": "CLIPTokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)
