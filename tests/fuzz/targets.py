"""What is done with each input, and what must hold of the result; any error but this project's own is a finding."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbw.analysis.cells import choose, parse_span, whole_number
from lbw.analysis.groups import parse_groups
from lbw.analysis.ranges import numbers as axis_numbers
from lbw.analysis.ranges import split
from lbw.analysis.tuner_start import from_json, suggestion_in
from lbw.analysis.xyz import entries_of
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.detect import detect_lora, detect_model
from lbw.core.elements import parse_elements, resolve_elements
from lbw.core.entries import RandomSource
from lbw.core.errors import LbwError
from lbw.core.plan import resolve_request
from lbw.core.preset_check import check_elements, check_presets
from lbw.core.presets import BOM, editor_text, file_text, parse_presets
from lbw.core.selectors import select
from lbw.core.tag import fill_in, find_entries, parse_tag, requests_in, unclosed_tag, without_tags
from lbw.core.weights import parse_block_weights
from lbw.files.header import read_header
from lbw.files.hints import hint_problems, hints_text, parse_hints

from . import inputs, requests
from .inputs import Generator

MODELS = list(ARCHITECTURES.values())
PRESETS = {"MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0", "NONE": "0", "OUTALL": "0,OUT=1", "MINE@flux": "0,D=1"}
ELEMENTS = {"E": "IN05-OUT05:attn:0.5,:proj:0"}


def refused(call: Callable[[], Any]) -> bool:
    """Tell whether `call` raises one of this project's errors; any other error is passed on."""
    try:
        call()
    except LbwError:
        return True
    return False


def tags(chance: Generator) -> None:
    written = inputs.tag(chance)
    model = chance.choice(MODELS)
    presets = PRESETS if chance.random() < 0.7 else parse_presets(inputs.file(chance)).presets
    if not refused(lambda: parse_tag(written, presets)):
        resolved = resolve_request(parse_tag(written, presets), model, presets, ELEMENTS, chance.randrange(5))
        assert set(resolved.weights.blocks) == set(model.blocks)
        resolved.multipliers(inputs.NAMES)
        assert isinstance(resolved.encoder_digest, str)
        assert resolved.entry is None or isinstance(resolved.entry, str)
    prompt = written + inputs.tag(chance)
    requests_in(prompt, presets)
    without_tags(prompt)
    unclosed_tag(prompt)
    fill_in(prompt, find_entries(inputs.text(chance)))


def block_weights(chance: Generator) -> None:
    weights, model = parse_block_weights(inputs.weights(chance)), chance.choice(MODELS)
    source = RandomSource(chance.randrange(9), "n")
    if refused(lambda: weights.resolve(model, PRESETS, source, 0.5)):
        return
    found = weights.resolve(model, PRESETS, source, 0.5)
    again = parse_block_weights(found.text(model)).resolve(model, {})
    assert again.blocks == found.blocks


def selectors(chance: Generator) -> None:
    written, model = inputs.text(chance), chance.choice(MODELS)
    if not refused(lambda: select(written, model)):
        chosen = select(written, model)
        assert list(chosen) == [block for block in model.blocks if block in chosen]


def preset_files(chance: Generator) -> None:
    written = inputs.file(chance)
    parsed = parse_presets(written)
    assert str(parsed) == written
    check_presets(written)
    edited = inputs.file(chance).lstrip(BOM)  # an editor in a browser holds none
    assert editor_text(file_text(editor_text(edited), written)) == editor_text(edited)


def element_files(chance: Generator) -> None:
    written = inputs.file(chance)
    check_elements(written)
    presets = parse_elements(written)
    for name in [*list(presets)[:3], inputs.text(chance)]:
        refused(lambda name=name: resolve_elements(name, presets, chance.choice(MODELS)))  # type: ignore[misc]


def axes(chance: Generator) -> None:
    written, model = inputs.text(chance), chance.choice(MODELS)
    refused(lambda: split(written))
    refused(lambda: axis_numbers(written, whole=chance.random() < 0.5))
    refused(lambda: choose(written, model, model.blocks[:3]))
    refused(lambda: parse_groups(written, model, model.blocks))
    refused(lambda: parse_span(written))
    refused(lambda: whole_number(written, "field", 1, 100))
    refused(lambda: entries_of(written, model, PRESETS, 1))


def states(chance: Generator) -> None:
    written = chance.choice((inputs.text(chance), inputs.body(chance, {"architecture": "sd1", "layout": 17}).decode()))
    refused(lambda: from_json(written))
    refused(lambda: suggestion_in(written))
    hints: list[Any] = []
    if not refused(lambda: hints.extend(parse_hints(written))):
        hint_problems(hints[:20])
        assert parse_hints(hints_text(hints)) == hints


def names(chance: Generator) -> None:
    shapes, model = inputs.shapes(chance), chance.choice(MODELS)
    for name in shapes:
        assert locate(name, model).block in model.blocks
    found = detect_lora(shapes, {"ss_base_model_version": inputs.text(chance)}, chance.choice((None, model)))
    assert found.architecture is None or found.architecture in found.candidates
    detect_model(shapes)


def headers(chance: Generator) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        path.write_bytes(inputs.safetensors(chance))
        header: list[Any] = []
        if not refused(lambda: header.append(read_header(path))):
            detect_lora(header[0].shapes, header[0].metadata)


TARGETS: dict[str, Callable[[Generator], None]] = {
    "tags": tags,
    "block weights": block_weights,
    "selectors": selectors,
    "preset files": preset_files,
    "elemental presets": element_files,
    "axes, ranges, groups": axes,
    "states and hints": states,
    "names of tensors": names,
    "headers": headers,
    "requests": requests.ask,
}
