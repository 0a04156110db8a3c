"""Laws that hold for every input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hypothesis import assume, example, given
from hypothesis import strategies as st

from lbw.core import limits
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate, module_name
from lbw.core.detect import detect_lora
from lbw.core.elements import parse_elements
from lbw.core.entries import RandomSource
from lbw.core.errors import LbwError, TagError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number, parse_number
from lbw.core.plan import at_step, resolve_request
from lbw.core.presets import parse_presets
from lbw.core.selectors import select
from lbw.core.tag import _TAG, fill_in, find_entries, parse_tag
from lbw.core.weights import ResolvedWeights, parse_block_weights

from .tables import BLOCKS, PREDECESSOR_PRESETS, words

architectures = st.sampled_from(list(ARCHITECTURES.values()))
finite = st.floats(allow_nan=False, allow_infinity=False)
sane = st.floats(-limits.WEIGHT, limits.WEIGHT)
sources = st.builds(RandomSource, st.integers(), st.text())
line_texts = st.text(st.characters(blacklist_characters="\r\n\ufeff"))
simple_names = st.text("abcXYZ019_- 名é", min_size=1).filter(lambda name: name.strip() == name)
TENSORS = [
    "lora_te_text_model_encoder_layers_0_mlp_fc1",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
    "lora_unet_middle_block_1_proj_in",
    "lora_unet_single_blocks_3_linear1",
    "lora_unet_output_blocks_5_1_proj_out",
]

# Text made of the pieces that tags are made of goes deeper than text of any characters.
WORDS = words(
    "< > : = , ; . - + % @ # NOT lora lyco lbw= w= lbwe= x= start= stop= step= te= unet= dyn= 0 1 17 0.5 "
    "1e999 9999999999 nan inf R U X X+0.2 X- BASE IN IN04 IN04-IN08 OUT00 MID D00 S CLIP MIDD OUTALL E 名"
)
pieces = st.sampled_from([*WORDS, " ", "\n", "\x00", "\ufeff", "\u0664", "\u00b2"])
written = st.lists(pieces, max_size=25).map("".join) | st.lists(pieces, max_size=12).map(" ".join)
any_text = st.text() | written
lists = st.builds(
    ",".join,
    st.sampled_from([12, 17, 20, 26, 57, 61]).flatmap(
        lambda n: st.lists(st.sampled_from(["0", "1", "-0.5", "R", "U", "X", "X+0.2", "1e3"]), min_size=n, max_size=n)
    ),
)
named_lists = st.builds(
    lambda default, overrides: ",".join([default, *(f"{s}={v}" for s, v in overrides)]),
    st.sampled_from(["0", "1", "MIDD", "0.25", "R"]),
    st.lists(
        st.tuples(
            st.sampled_from(["IN", "OUT00", "base", "MID", "OUT2-OUT05", "IN08-M00"]),
            st.sampled_from(["0", "1", "R", "U", "X-0.5", "0.1"]),
        ),
        max_size=4,
    ),
)
good_weights = lists | named_lists | st.sampled_from(list(PREDECESSOR_PRESETS)) | finite.map(format_number)


def detect(
    names: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Architecture | None:
    return detect_lora({name: (shapes or {}).get(name, ()) for name in names}, metadata).architecture


# Any text ----------------------------------------------------------------------------------------


@given(text=any_text, presets=any_text, elements=any_text, architecture=architectures, seed=st.integers())
@example("<lora:n:dyn=4@2>", "", "", ARCHITECTURES["sd1"], 0)
@example("<lora:n:1:1:" + "9" * 5000 + ">", "", "", ARCHITECTURES["sd1"], 0)
@example("<lora:n:lbw=0,IN" + "1" * 5000 + "=1>", "", "", ARCHITECTURES["sd1"], 0)
@example("<lora:n:lbw=X+" + "9" * 400 + ">", "", "", ARCHITECTURES["flux"], 0)
@example("<lora:n:lbw=A>", "A:A", "", ARCHITECTURES["sdxl"], 0)
@example("<lora:n:lbwe=A>", "", "A:NOT:NOT:1", ARCHITECTURES["sdxl"], 0)
def test_any_text_as_tag_and_presets_ends_in_a_plan_or_in_one_of_our_errors(
    text: str, presets: str, elements: str, architecture: Architecture, seed: int
) -> None:
    weights = parse_presets(presets).presets
    try:
        request = parse_tag(text, weights)
    except TagError:
        return
    resolved = resolve_request(request, architecture, weights, parse_elements(elements), seed)
    assert all(isinstance(problem, LbwError) and str(problem) for problem in resolved.problems)
    multipliers = at_step(resolved, 3, 20).multipliers(TENSORS)
    assert list(multipliers) == TENSORS
    assert all(math.isfinite(weight) for weight in resolved.weights.blocks.values())
    assert isinstance(resolved.digest + resolved.encoder_digest + (resolved.entry or ""), str)


@given(body=any_text.filter(lambda text: ">" not in text), architecture=architectures)
def test_any_text_within_a_tag_is_read_or_named(body: str, architecture: Architecture) -> None:
    request = parse_tag(f"<lora:n:{body}>", {})
    assert request.host_items[0] == "n"
    again = parse_tag(f"<lora:{':'.join(request.host_items)}>", {})
    assert (again.te, again.unet, again.dyn) == (request.te, request.unet, request.dyn)
    assert again.problems == ()


@given(text=any_text, architecture=architectures)
def test_any_text_as_block_weights_is_resolved_or_named(text: str, architecture: Architecture) -> None:
    try:
        weights = parse_block_weights(text).resolve(architecture, PREDECESSOR_PRESETS)
    except LbwError:
        return
    assert list(weights.blocks) == BLOCKS[architecture.name]


@given(name=any_text, architecture=architectures)
def test_any_name_stands_in_one_block(name: str, architecture: Architecture) -> None:
    site = locate(name, architecture)
    assert site.block in architecture.blocks
    assert locate(module_name(name), architecture) == site


@given(st.lists(any_text))
def test_any_names_are_of_a_known_model_or_of_none(names: list[str]) -> None:
    assert detect(names) in (None, *ARCHITECTURES.values())


# Tags in a prompt --------------------------------------------------------------------------------


@given(prompt=any_text.filter(lambda text: not _TAG.search(text)), entries=st.lists(any_text))
def test_a_prompt_without_tags_is_left_as_it_is(prompt: str, entries: list[str]) -> None:
    assert fill_in(prompt, entries) == prompt


@given(any_text)
def test_a_prompt_is_left_as_it_is_where_its_infotext_carries_nothing(prompt: str) -> None:
    assert fill_in(prompt, find_entries("")) == prompt


@given(
    weights=st.lists(good_weights, min_size=1, max_size=3),
    architecture=architectures,
    name=simple_names,
    seed=st.integers(),
    x=st.sampled_from(["0", "0.7", "-1"]),
)
def test_a_pasted_infotext_means_what_the_image_was_made_with(
    weights: list[str], architecture: Architecture, name: str, seed: int, x: str
) -> None:
    tags = [f"<lora:{name}:0.5:lbw={text}:x={x}>" for text in weights]
    before = [
        resolve_request(parse_tag(tag, PREDECESSOR_PRESETS), architecture, PREDECESSOR_PRESETS, {}, seed)
        for tag in tags
    ]
    infotext = "".join(f"<{lora.entry}>" for lora in before)
    prompt = fill_in("a cat, ".join(tags), find_entries(infotext))
    misleading = dict.fromkeys(PREDECESSOR_PRESETS, "0.125")
    after = [
        resolve_request(parse_tag(tag[0], misleading), architecture, misleading, {}, seed + 1)
        for tag in _TAG.finditer(prompt)
    ]
    assert [lora.weights.blocks for lora in after] == [lora.weights.blocks for lora in before]
    assert [lora.problems for lora in after] == [()] * len(tags)


# Numbers and weights -----------------------------------------------------------------------------


@given(finite)
def test_a_number_printed_is_read_back_exactly(value: float) -> None:
    again = parse_number(format_number(value))
    assert again == value
    assert math.copysign(1, again) == math.copysign(1, value)


@given(data=st.data(), architecture=architectures)
def test_weights_printed_are_read_back_exactly(data: st.DataObject, architecture: Architecture) -> None:
    count = data.draw(st.none() | st.sampled_from(sorted(architecture.layouts)))
    values = {block: data.draw(sane | st.sampled_from([0.0, 1.0])) for block in architecture.blocks}
    text = ResolvedWeights(values, count).text(architecture)
    assert parse_block_weights(text).resolve(architecture, {}).blocks == values


@given(text=good_weights, architecture=architectures, source=sources, x=sane)
def test_what_was_resolved_is_printed_so_that_it_means_the_same(
    text: str, architecture: Architecture, source: RandomSource, x: float
) -> None:
    try:
        weights = parse_block_weights(text).resolve(architecture, PREDECESSOR_PRESETS, source, x)
    except LbwError:
        assume(False)
        return
    assert parse_block_weights(weights.text(architecture)).resolve(architecture, {}).blocks == weights.blocks


@given(architecture=architectures, te=finite, unet=finite, weight=st.floats(-1e3, 1e3))
def test_a_strength_and_a_weight_reach_the_tensors_exactly(
    architecture: Architecture, te: float, unet: float, weight: float
) -> None:
    tag = f"<lora:n:{te!r}:{unet!r}:lbw={weight!r}>"
    lora = resolve_request(parse_tag(tag, {}), architecture, {}, {})
    assert list(lora.multipliers(TENSORS).values()) == [te * weight] + [unet * weight] * 4


# Selectors ---------------------------------------------------------------------------------------


@given(data=st.data(), architecture=architectures)
def test_a_selection_is_in_layout_order_and_is_what_its_inverse_leaves(
    data: st.DataObject, architecture: Architecture
) -> None:
    blocks = BLOCKS[architecture.name]
    ends = st.sampled_from(blocks)
    words = data.draw(st.lists(ends | st.builds("{}-{}".format, ends, ends), min_size=1, max_size=5))
    expected = set()
    for word in words:
        first, _, last = word.partition("-")
        places = sorted([blocks.index(first), blocks.index(last or first)])
        expected |= set(blocks[places[0] : places[1] + 1])
    text = " ".join(words)
    assert list(select(text, architecture)) == [block for block in blocks if block in expected]
    assert list(select(f"NOT {text}", architecture)) == [block for block in blocks if block not in expected]


# Preset files ------------------------------------------------------------------------------------

preset_lines = st.lists(
    st.tuples(
        st.sampled_from(["A:1,0", "B:2", "# c", "", "A:x:y", " A : 1 ", "D:1#"]) | line_texts,
        st.sampled_from(["\n", "\r\n", "\r"]),
    ),
    max_size=8,
).map(lambda lines: "".join(text + end for text, end in lines))
preset_files = (
    st.text() | written | st.builds("{}{}{}".format, st.sampled_from(["", "\ufeff"]), preset_lines, line_texts)
)


@given(preset_files)
def test_a_preset_file_is_printed_as_it_was_read(text: str) -> None:
    file = parse_presets(text)
    assert str(file) == text
    assert [line.number for line in file.lines] == list(range(1, len(file.lines) + 1))


@given(text=preset_files, name=st.sampled_from(["A", "B", "NEW"]), weights=st.sampled_from(["1", "0,IN04=1"]))
def test_setting_a_preset_sets_it_and_keeps_every_other_line(text: str, name: str, weights: str) -> None:
    before = parse_presets(text)
    after = before.with_preset(name, weights)
    assert after.presets == before.presets | {name: weights}
    places = [line.number for line in before.lines if line.name == name]
    if places:
        others = [line.text for line in before.lines if line.number != places[-1]]
        assert [line.text for line in after.lines if line.number != places[-1]] == others
    else:
        assert str(after).startswith(text)
        assert len(after.lines) == len(before.lines) + 1
    assert after.with_preset(name, weights) == after


@given(preset_files)
def test_elemental_presets_of_any_text_are_texts_by_name(text: str) -> None:
    for name, rules in parse_elements(text).items():
        assert name.strip() == name != ""
        assert "\r" not in rules
