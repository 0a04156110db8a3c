"""The tag: SYNTAX.md 1, the predecessor's documented forms, and what the host gets to see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbw.core.errors import TagError
from lbw.core.steps import Span, Step
from lbw.core.tag import (
    LoraRequest,
    change_tag,
    fill_in,
    find_entries,
    find_tags,
    parse_tag,
    requests_in,
    tag_text,
    unclosed_tag,
    without_tags,
)

SEVENTEEN = "0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
TWENTY_SIX = "0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
PRESETS = {"IN02": SEVENTEEN, "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0", "ROUT": "X,1,1,1,1,1,1,1,1,1,1,1,X,X,X,X,X"}


def parse(text: str) -> LoraRequest:
    request = parse_tag(text, PRESETS)
    assert request.problems == ()
    return request


# The forms that the predecessor's README documents ------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "weights"),
    [
        (f'<lora:"lora name":1:{SEVENTEEN}>', SEVENTEEN),
        (f'<lora:"lora name":1:{TWENTY_SIX}>', TWENTY_SIX),
        ('<lora:"lora name":1:lbw=IN02>', "IN02"),
        ('<lyco:"lora name":1:1:lbw=IN02>', "IN02"),
        (f'<lyco:"lora name":1:1:lbw={TWENTY_SIX}>', TWENTY_SIX),
        ('<lora:"lora name":1:IN02>', "IN02"),
        ('<lora:"lora name":lbw=IN02>', "IN02"),
        ('<lora:"lora name":1:1:w=IN02>', "IN02"),
        ('<lora:"lora name":lbw=IN02:1:1>', "IN02"),
    ],
)
def test_a_documented_form_carries_its_block_weights(tag: str, weights: str) -> None:
    request = parse(tag)
    assert request == LoraRequest('"lora name"', weights=weights, host_items=request.host_items)


@pytest.mark.parametrize(
    ("tag", "span"),
    [
        ('<lora:"lora name":lbw=ALL:start=10>', Span(Step(10), None)),
        ('<lora:"lora name":lbw=ALL:stop=10>', Span(None, Step(10))),
        ('<lora:"lora name":lbw=ALL:step=5-10>', Span(Step(5), Step(10))),
        ('<lora:"lora name":1:1:lbw=IN02:stop=10>', Span(None, Step(10))),
    ],
)
def test_a_documented_form_carries_its_steps(tag: str, span: Span) -> None:
    assert parse(tag).span == span


def test_a_fourth_item_is_x_where_the_preset_holds_one() -> None:
    request = parse("<lora:my_lore:0.5:ROUT:0.7>")
    assert (request.te, request.unet, request.weights, request.x) == (0.5, 0.5, "ROUT", 0.7)
    assert request.elements is None
    assert parse("<lora:my_lore:0.5:ROUT>").x == 1


def test_a_fourth_item_is_x_where_the_list_itself_holds_one() -> None:
    assert parse("<lora:n:1:X,1,1,1,1,1,1,1,1,1,1,X-0.1:0.25>").x == 0.25


def test_a_fourth_item_is_an_elemental_preset_where_there_is_no_x() -> None:
    request = parse("<lora:n:1:MIDD:ATTNON>")
    assert (request.weights, request.elements, request.x) == ("MIDD", "ATTNON", 1)


def test_elemental_presets_go_with_and_without_block_weights() -> None:
    both = parse('<lora:"lora name":1:lbw=MIDD:lbwe=ATTNON>')
    assert (both.weights, both.elements) == ("MIDD", "ATTNON")
    alone = parse('<lora:"lora name":1:lbwe=ATTNON>')
    assert (alone.weights, alone.elements) == (None, "ATTNON")


# Items -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "te", "unet", "dyn"),
    [
        ("", 1, 1, None),
        (":0.8", 0.8, 0.8, None),
        (":0.8:0.3", 0.8, 0.3, None),
        (":0.8:0.3:16", 0.8, 0.3, 16),
        (":te=0.5", 0.5, 0.5, None),
        (":te=0.5:unet=0.25", 0.5, 0.25, None),
        (":unet=0.25", 1, 0.25, None),
        (":dyn=8:0.5", 0.5, 0.5, 8),
        (":-1", -1, -1, None),
        (":1e-3", 0.001, 0.001, None),
    ],
)
def test_strengths_are_read_as_the_host_reads_them(items: str, te: float, unet: float, dyn: int | None) -> None:
    request = parse(f"<lora:n{items}:lbw=1>")
    assert (request.te, request.unet, request.dyn) == (te, unet, dyn)


def test_keyed_items_stand_in_any_order() -> None:
    ours = ["lbw=ROUT", "x=0.5", "start=2", "stop=50%", "lbwe=E"]
    expected = parse(f"<lora:n:1:{':'.join(ours)}>")
    assert expected.span == Span(Step(2), Step(50, percent=True))
    for turn in range(len(ours)):
        turned = ours[turn:] + ours[:turn]
        assert parse(f"<lora:n:{':'.join(turned)}:1>") == expected


def test_the_host_gets_its_items_and_none_of_ours() -> None:
    request = parse("<lora:n:0.5:lbw=MIDD:unet=0.25:ctx=hires:lbwe=E:x=1:start=1:stop=9>")
    assert request.host_items == ("n", "0.5", "unet=0.25", "ctx=hires")
    assert parse("<lora:n:0.5:MIDD:E>").host_items == ("n", "0.5")
    assert parse("<lora:n:0.5:lbw=MIDD:w=MIDD:step=1-2>").host_items == ("n", "0.5")


def test_a_tag_without_our_items_is_the_hosts_alone() -> None:
    request = parse("<lora:n:0.5:0.25:8:ctx=hires>")
    assert request.is_plain
    assert request.host_items == ("n", "0.5", "0.25", "8", "ctx=hires")


@pytest.mark.parametrize("items", ["lbw=1", "lbwe=E", "start=2", "stop=2", "lbw=1:te=x"])
def test_a_tag_with_our_items_is_not_plain(items: str) -> None:
    assert not parse_tag(f"<lora:n:{items}>", {}).is_plain


def test_strengths_over_steps_of_another_extension_are_left_alone() -> None:
    request = parse("<lora:n:0@0,1@0.5:1@0:te=0@1:lbw=MIDD>")
    assert request.host_items == ("n", "0@0,1@0.5", "1@0", "te=0@1")
    assert request.weights == "MIDD"
    third = parse("<lora:n:1:0@0,1@0.5>")
    assert third.is_plain
    assert third.host_items == ("n", "1", "0@0,1@0.5")


@pytest.mark.parametrize(
    "name", ['"lora name"', "it's", "名前 (v2) [a]{b}", "Имя.safetensors", "folder/name", "a_b-c=d", " spaced ", "😀"]
)
def test_a_name_may_hold_anything_but_the_tags_own_signs(name: str) -> None:
    assert parse(f"<lora:{name}:1:lbw=MIDD>").name == name


def test_lyco_means_lora() -> None:
    assert parse("<lyco:n:0.5:MIDD:stop=3>") == parse("<lora:n:0.5:MIDD:stop=3>")


def test_a_tag_may_stand_without_its_brackets() -> None:
    assert parse("n:0.5:lbw=MIDD") == parse("<lora:n:0.5:lbw=MIDD>")


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        ("<lora:n:often:lbw=1>", ["often"]),
        ("<lora:n:1:much:lbw=1>", ["much"]),
        ("<lora:n:1:1:few:lbw=1>", ["few", "fourth"]),
        ("<lora:n:1:1:1.5:lbw=1>", ["1.5"]),
        ("<lora:n:1:1:4:extra:lbw=1>", ["extra", "5"]),
        ("<lora:n:1:MIDD:E:extra>", ["extra", "MIDD"]),
        ("<lora:n:te=often>", ["te=often", "is not a number"]),
        ("<lora:n:unet=nan>", ["unet=nan"]),
        ("<lora:n:te=0.5=1>", ["te=0.5=1"]),
        ("<lora:n:dyn=few>", ["dyn=few", "is not a whole number"]),
        ("<lora:n:dyn=٣>", ["dyn=٣"]),
        ("<lora:n:dyn=4@2>", ["dyn=4@2"]),
        (f"<lora:n:dyn={'9' * 5000}>", ["dyn=999"]),
        ("<lora:n:lbw=X:x=some>", ["x=some"]),
        ("<lora:n:lbw=1:start=soon>", ["start=soon"]),
        ("<lora:n:lbw=1:start=7:stop=3>", ["start=7", "stop=3"]),
        ("<lora:n:lbw=1:step=2to9>", ["2to9"]),
    ],
)
def test_what_cannot_be_read_is_named(tag: str, named: list[str]) -> None:
    (problem,) = parse_tag(tag, PRESETS).problems
    assert [word for word in named if word not in str(problem)] == []


@pytest.mark.parametrize(
    ("tag", "host_items"),
    [
        ("<lora:n:often:0.5:lbw=1>", ("n", "1", "0.5")),
        ("<lora:n:0.5:much:lbw=1>", ("n", "0.5", "0.5")),
        ("<lora:n:1:1:few:lbw=1>", ("n", "1", "1")),
        ("<lora:n:te=often:unet=0.5>", ("n", "unet=0.5")),
        ("<lora:n:0.5:inf:lbw=1>", ("n", "0.5", "0.5")),
    ],
)
def test_the_host_sees_no_value_that_it_cannot_read(tag: str, host_items: tuple[str, ...]) -> None:
    assert parse_tag(tag, {}).host_items == host_items


@pytest.mark.parametrize("text", ["", "   ", "<lora:>", "<lora: :1>", "<hypernet:n:1>", "<lora:n:1", ":1", "<lora:n>x"])
def test_what_is_no_tag_is_an_error(text: str) -> None:
    with pytest.raises(TagError):
        parse_tag(text, {})


def test_a_tag_that_is_too_long_is_told_as_such() -> None:
    with pytest.raises(TagError, match=r"^the tag has "):
        parse_tag(f"<lora:{'n' * 100_000}:1>", {})


@pytest.mark.parametrize("key", ["ww", "xx"])
def test_a_key_of_two_letters_is_not_taken_for_a_slip_of_one(key: str) -> None:
    assert parse(f"<lora:n:1:{key}=1:lbw=1>").remarks == ()


def test_requests_of_the_same_bad_tag_are_equal() -> None:
    tag = "<lora:n:often:lbw=1>"
    assert parse_tag(tag, {}) == parse_tag(tag, {})
    assert parse_tag(tag, {}) != parse_tag(tag.replace("often", "seldom"), {})


# Tags in a prompt --------------------------------------------------------------------------------

PROMPT = "a cat <lora:a:0.5:lbw=MIDD> on <lyco:b c:1> a mat <lora:a:1> <lora:open:1"


def test_the_tags_of_a_prompt_are_found_in_order_up_to_the_last_that_is_closed() -> None:
    assert [match.groups() for match in find_tags(PROMPT)] == [
        ("lora", "a:0.5:lbw=MIDD"), ("lyco", "b c:1"), ("lora", "a:1"),
    ]  # fmt: skip
    found = [(request.name, request.te, request.weights) for request in requests_in(PROMPT, PRESETS)]
    assert found == [("a", 0.5, "MIDD"), ("b c", 1, None), ("a", 1, None)]
    assert requests_in("<lora:n:1:ROUT:0.7>", PRESETS)[0].x == 0.7
    assert list(find_tags("")) == []


def test_a_prompt_is_left_without_its_tags_and_the_spaces_around_them() -> None:
    assert without_tags(PROMPT) == "a cat on a mat <lora:open:1"
    assert without_tags("  <lora:a:1>  ") == ""


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("<lora:a:1><lora:b:1", '"<lora:b:1"'),
        ("<lora:a:1> x <lora:b:1> y <lyco:c:1 z", '"<lyco:c:1 z"'),
        ("<lora:" + "n" * 300, '"<lora:' + "n" * 33 + '…"'),
    ],
)
def test_the_tag_that_is_not_closed_is_named(prompt: str, named: str) -> None:
    assert f"the tag {named} is not closed" in (unclosed_tag(prompt) or "")


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("<lora:n>", "<lora:n>"),
        ("<lora:n:0.5:0.25:8:ctx=hires>", "<lora:n:0.5:0.25:8:ctx=hires>"),
        ("<lora:n:0.5:MIDD:E>", "<lora:n:0.5:lbw=MIDD:lbwe=E>"),
        ("<lora:n:1:step=2-50%:x=0.3:lbw=ROUT>", "<lora:n:1:lbw=ROUT:x=0.3:start=2:stop=50%>"),
        ("<lora:n:1:lbw=:stop=7>", "<lora:n:1:lbw=:stop=7>"),
    ],
)
def test_a_request_is_written_as_the_keyed_tag_that_asks_for_it(tag: str, written: str) -> None:
    assert tag_text("lora", parse_tag(tag, PRESETS)) == written


def test_a_request_that_was_no_tag_is_written_by_its_name() -> None:
    assert tag_text("lyco", LoraRequest("n", weights="1")) == "<lyco:n:lbw=1>"


def test_one_tag_of_a_prompt_is_changed_by_name_or_the_first() -> None:
    def to_half(request: LoraRequest) -> LoraRequest:
        return replace(request, weights="0.5")

    rest = "<lora:a:1> <lora:open:1"
    assert change_tag(PROMPT, None, PRESETS, to_half) == f"a cat <lora:a:0.5:lbw=0.5> on <lyco:b c:1> a mat {rest}"
    changed = f"a cat <lora:a:0.5:lbw=MIDD> on <lyco:b c:1:lbw=0.5> a mat {rest}"
    assert change_tag(PROMPT, "b c", PRESETS, to_half) == changed
    assert change_tag(PROMPT, "open", PRESETS, to_half) is None
    assert change_tag("<lora:n:1:ROUT:0.7>", None, PRESETS, to_half) == "<lora:n:1:lbw=0.5:x=0.7>"


# Pasting -----------------------------------------------------------------------------------------


def test_a_prompt_gets_the_numbers_that_its_infotext_carries() -> None:
    prompt = "a cat <lora:a:0.5:MIDD> sat <lora:b:1> on <lyco:c:1:0.5:lbwe=E:start=2:stop=50%> it"
    entries = find_entries("<a:lbw=1,0><c:lbwe=IN04;attn;0.5>")
    assert entries == ["a:lbw=1,0", "c:lbwe=IN04;attn;0.5"]
    assert fill_in(prompt, entries) == (
        "a cat <lora:a:0.5:lbw=1,0> sat <lora:b:1> on <lyco:c:1:0.5:lbwe=IN04;attn;0.5:start=2:stop=50%> it"
    )


def test_each_of_two_tags_with_one_name_gets_its_own_numbers() -> None:
    assert fill_in("<lora:a:1:R><lora:a:1:R>", ["a:lbw=0.1", "a:lbw=0.2"]) == "<lora:a:1:lbw=0.1><lora:a:1:lbw=0.2>"
    three = fill_in("<lora:a:1:R>" * 3, ["a:lbw=0.1", "a:lbw=0.2", "a:lbw=0.3"])
    assert three == "<lora:a:1:lbw=0.1><lora:a:1:lbw=0.2><lora:a:1:lbw=0.3>"


def test_a_tag_without_block_weights_takes_no_entry() -> None:
    assert fill_in("<lora:a:1><lora:a:0.5:R>", ["a:lbw=0.1"]) == "<lora:a:1><lora:a:0.5:lbw=0.1>"


def test_a_tag_that_the_infotext_does_not_know_stays() -> None:
    prompt = "<lora:missing:1:MIDD><lora:a:1:MIDD>"
    assert fill_in(prompt, ["a:lbw=1"]) == "<lora:missing:1:MIDD><lora:a:1:lbw=1>"
    assert fill_in(prompt, []) == prompt


def test_a_filled_tag_means_what_it_meant_but_for_the_weights() -> None:
    tag = "<lora:n:0.5:0.25:8:lbw=ROUT:x=0.3:ctx=hires:step=2-7>"
    filled = parse(fill_in(tag, ["n:lbw=0.25"]))
    before = parse(tag)
    assert filled.weights == "0.25"
    assert (filled.name, filled.te, filled.unet, filled.dyn, filled.span, filled.host_items) == (
        before.name,
        before.te,
        before.unet,
        before.dyn,
        before.span,
        before.host_items,
    )
