"""Random inputs, each made from a number so that it can be made again: text, headers, bodies of requests.

Text is put together from the pieces that tags and presets are made of, for text of any characters does not get far;
then it is damaged: pieces are repeated many times, cut, doubled and swapped.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Generator = random.Random

words = str.split
PIECES = (
    *"<>:=,;.-+%@#()[]/\\ \t\n",
    *words("NOT ALL lora lyco lbw= w= LBW= lbwe= x= start= stop= step= te= unet= dyn= strat= 0 1 12 17 26 61 0.5 .5"),
    *words("5. 1e999 -1e-9 9999999999 nan inf Infinity R U X X+0.2 X- BASE TE IN IN04 IN04-IN08 in4-in08 OUT00 OUT"),
    *words("MID M00 D00 D S S00-S37 B B00-B27 EARLY MIDDLE LATE CLIP T5 ADP CR00 MIDD OUTALL NONE FLUXALL XYZ ZYX"),
    *words("auto 12ALL @flux @unet @wan sub/inner a.safetensors 30% 5-10 0-1 (+0.25) [5] attn attn2 proj 1,0,1,0"),
    *("0,OUT00=1", "<lora:a:1:lbw=", "<lyco:b:", ":lbw=MIDD>", "\r\n", "\x00", "\ufeff", "\u2028", "\u0664", "\u00b2"),
    *("名", "é", "\ud800"),
)
NAMES = (
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", "lora_unet_double_blocks_3_img_attn_qkv",
    "transformer.transformer_blocks.7.attn.to_q", "diffusion_model.layers.12.attention.qkv", "blocks.3.self_attn.q",
    "lora_te_text_model_encoder_layers_0_mlp_fc1", "text_encoders.qwen3_06b.llm_adapter.blocks.0.mlp.0",
    "base_model.model.transformer_blocks.0.attn1.to_q", "unet.down_blocks.0.resnets.0.conv1", "foo.blocks.3.bar",
)  # fmt: skip
SUFFIXES = (
    *words(".lora_down.weight .lora_up.weight .alpha .lora_A.weight .lora_B .hada_w1_a .hada_w2_b .diff .lokr_w1"),
    *words(".lokr_w2_a .lokr_t2 .oft_R.weight .dora_scale .magnitude .diff_b .w_norm .weight"),
    "",
)
DTYPES = ("F32", "F16", "BF16", "F8_E4M3", "F4", "I64", "BOOL", "F99", "")
LONG = 3_000
MOST = 10_000
"""Characters of one text: more than any limit of a name, and enough for what takes quadratic time to be noticed."""


def text(chance: Generator) -> str:
    """Return a text of pieces, damaged."""
    pieces = [chance.choice(PIECES) for _ in range(chance.choice((1, 3, 8, 20, 60)))]
    for _ in range(chance.choice((0, 0, 1, 2))):
        place = chance.randrange(len(pieces))
        pieces[place] = (pieces[place] * chance.choice((2, 17, 400, LONG)))[:MOST]
    whole = chance.choice(("", "", " ", ",", ":")).join(pieces)
    if chance.random() < 0.2:
        start, end = sorted(chance.randrange(len(whole) + 1) for _ in range(2))
        whole = whole[:start] + whole[end:]
    if chance.random() < 0.1:
        whole += chr(chance.choice((0, 10, 0x7F, 0xFEFF, 0x1F600, 0xD800 + chance.randrange(0x800))))
    return whole[:MOST]


def numbers(chance: Generator) -> str:
    """Return a list of block weights of some layout, with an entry here and there that is none."""
    count = chance.choice((12, 17, 20, 26, 28, 30, 57, 60, 61, chance.randrange(70)))
    entries = ("0", "1", "-0.5", "0.25", "R", "U", "X", "X-0.1", "1e3", "1e4", "", "x", "٣")
    return ",".join(chance.choice(entries) for _ in range(count))


def weights(chance: Generator) -> str:
    """Return what may follow `lbw=`."""
    return chance.choice((text, numbers))(chance)


def tag(chance: Generator) -> str:
    """Return a tag, or something similar to one."""
    if chance.random() < 0.5:
        return text(chance)
    items = [chance.choice(PIECES) + weights(chance) for _ in range(chance.randrange(5))]
    return f"<lora:a:{':'.join(items)}{chance.choice('> ')}"


def file(chance: Generator) -> str:
    """Return the text of a preset file."""
    lines = (
        chance.choice((text(chance), f"{text(chance)}:{weights(chance)}")) for _ in range(chance.choice((1, 5, 12)))
    )
    return chance.choice(("\n", "\r\n", "\n\n")).join(lines)


def shape(chance: Generator) -> Any:
    """Return the shape of a tensor, or something else in its place."""
    if chance.random() < 0.1:
        return chance.choice((None, "4", [-1], [1.5], [True], {}, [10**30], [1] * 4_000))
    return [chance.choice((0, 1, 3, 4, 16, 320, 768, 3072)) for _ in range(chance.choice((0, 1, 2, 2, 2, 4, 9)))]


def shapes(chance: Generator) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors of a LoRA file, some of them broken."""
    found: dict[str, tuple[int, ...]] = {}
    for _ in range(chance.choice((0, 1, 4, 30))):
        name = chance.choice(NAMES).replace("3", str(chance.choice((0, 3, 18, 19, 60, 99999)))) + chance.choice(
            SUFFIXES
        )
        if chance.random() < 0.2:
            name = chance.choice(("_", ".", "model_", "blocks.0.")) * chance.choice((1, 40)) + name + text(chance)[:60]
        size = shape(chance)
        found[name] = tuple(n for n in size if type(n) is int and 0 <= n < 10**6) if isinstance(size, list) else ()
    return found


def safetensors(chance: Generator) -> bytes:
    """Return the bytes of a file that may be a safetensors file."""
    place = 0
    entries: dict[str, Any] = {}
    for _ in range(chance.choice((0, 1, 3, 20))):
        size = chance.choice((0, 4, 16, 64))
        begin = place + chance.choice((0, 0, 0, 0, 8, -4))
        entry: Any = {"dtype": chance.choice(DTYPES), "shape": shape(chance), "data_offsets": [begin, begin + size]}
        place = begin + size
        if chance.random() < 0.1:
            entry = chance.choice((None, [], {}, {"shape": [1]}, {**entry, "data_offsets": [1]}, 7))
        entries[chance.choice(NAMES) + chance.choice(SUFFIXES) + chance.choice(("", text(chance)[:20]))] = entry
    if chance.random() < 0.3:
        entries["__metadata__"] = chance.choice(
            ({"modelspec.architecture": text(chance)[:50]}, [], None, {"a": 1}, "x")
        )
    body: Any = chance.choice((entries, entries, entries, [], None, "x"))
    header = json.dumps(body, ensure_ascii=True).encode()
    if chance.random() < 0.1:
        header = header.replace(b"1", b"Infinity", 1) if chance.random() < 0.5 else b"[" * chance.choice((5, 50_000))
    length = len(header) + chance.choice((0, 0, 0, 0, 1, -1, 10**15))
    return struct.pack("<Q", max(length, 0)) + header + bytes(max(place, 0) + chance.choice((0, 0, 0, 1)))


def value(chance: Generator, depth: int = 2) -> Any:
    """Return a value of JSON."""
    kinds: list[Callable[[], Any]] = [
        lambda: chance.choice((None, True, False)),
        lambda: chance.choice((1e400, -0.5, 2**70, -2, 0, 4)),
        lambda: text(chance),
        lambda: tag(chance),
        lambda: numbers(chance),
    ]
    if depth:
        kinds += [lambda: [value(chance, depth - 1) for _ in range(chance.randrange(4))]]
        kinds += [lambda: {text(chance)[:20]: value(chance, depth - 1) for _ in range(chance.randrange(4))}]
    return chance.choice(kinds)()


def body(chance: Generator, fields: dict[str, Any], share: float = 0.5) -> bytes:
    """Return the body of a request whose right form is `fields`, with some of them changed, missing or added.

    share: of the fields that are changed; a fifth of it is missing.
    """
    sent = {name: value(chance) if chance.random() < share else right for name, right in fields.items()}
    for name in list(sent):
        if chance.random() < share / 5:
            del sent[name]
    if chance.random() < 0.1:
        sent[text(chance)[:20]] = value(chance)
    whole: Any = sent if chance.random() < 0.9 else value(chance)
    raw = json.dumps(whole).encode()
    return raw if chance.random() < 0.95 else raw[: chance.randrange(len(raw) + 1)]
