"""Every row of SYNTAX.md, section 8: a message that names what is wrong, and an honest picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .webui import Answer, RequestError, WebUI, same, script_args

pytestmark = pytest.mark.live


def check(webui: WebUI, files: Files, items: str, *named: str) -> Answer:
    """The LoRA applies without block weights, and the message names all of this."""
    answer = webui.render(f"{PROMPT} <lora:{files.both}:1:{items}>")
    assert same(answer, webui.render(f"{PROMPT} <lora:{files.both}:1>"))
    for word in (files.both, *named):
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer.warnings), (
            f"{word!r} not in the message: {answer.warnings!r}"
        )
    return answer


def test_an_unknown_preset_is_named_with_the_nearest_names(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=MIDDD", "MIDDD", "MIDD")


def test_a_preset_in_another_case_is_suggested(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=outall", "outall", "OUTALL")


def test_an_unknown_elemental_preset_is_named(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbwe=NOWHERE", "NOWHERE")


def test_a_wrong_count_is_named_with_the_counts_that_fit(webui: WebUI, files: Files, checkpoint: Checkpoint) -> None:
    numbers = ",".join(["1"] * 5)
    check(webui, files, f"lbw={numbers}", "5", *map(str, checkpoint.layouts))


def test_text_that_is_no_number_is_named_with_its_place_and_block(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    layout = checkpoint.layouts[min(checkpoint.layouts)]
    numbers = ["1"] * len(layout)
    numbers[2] = "lots"
    check(webui, files, f"lbw={','.join(numbers)}", "lots", "3", layout[2])


def test_a_value_of_a_named_list_that_is_no_number_is_named(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=0,IN04=much", "much", "IN04")


def test_an_x_that_is_no_number_is_named(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=0,IN04=X:x=some", "some")


def test_an_unknown_block_is_named_with_the_blocks_that_exist(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    *_, last = checkpoint.layouts[max(checkpoint.layouts)]
    check(webui, files, "lbw=0,IN99=1", "IN99", "BASE", "M00", last)


def test_a_range_across_models_is_named(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=0,IN01-D05=1", "D05", "M00")


def test_a_layout_of_another_kind_of_model_is_named_with_both_kinds(
    webui: WebUI, files: Files, checkpoint: Checkpoint
) -> None:
    answer = check(webui, files, f"lbw={','.join(['1'] * 61)}")
    message = answer.warnings.lower()
    assert "flux" in message
    assert "sdxl" in message if checkpoint.architecture == "sdxl" else "sd" in message


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ("lbw=0.5:start=7:stop=3", ("7", "3")),
        ("lbw=0.5:start=soon", ("soon",)),
        ("lbw=0.5:step=2to9", ("2to9",)),
    ],
)
def test_steps_that_make_no_sense_are_named(items: str, named: tuple[str, ...], webui: WebUI, files: Files) -> None:
    check(webui, files, items, *named)


def test_a_lora_that_is_not_there_is_named_and_the_others_apply(webui: WebUI, files: Files, none: Answer) -> None:
    plain = webui.render(f"{PROMPT} <lora:{files.both}:1>", fresh=True)
    missing = webui.render(f"{PROMPT} <lora:lbwtest_nowhere:1:lbw=0.5>", fresh=True)
    assert same(missing, none)
    assert "lbwtest_nowhere" in missing.warnings
    beside = webui.render(f"{PROMPT} <lora:lbwtest_nowhere:1:lbw=0.5><lora:{files.both}:1>")
    assert same(beside, plain)


def test_a_lora_for_another_model_is_named(webui: WebUI, files: Files, none: Answer) -> None:
    answer = webui.render(f"{PROMPT} <lora:{files.foreign}:1:lbw=0.5>")
    assert same(answer, none)
    assert files.foreign in answer.warnings


def test_one_bad_tag_does_not_take_the_weights_from_the_others(webui: WebUI, files: Files) -> None:
    answer = webui.render(f"{PROMPT} <lora:{files.unet}:1:lbw=NOSUCH><lora:{files.text}:1:lbw=0>")
    assert same(answer, webui.render(f"{PROMPT} <lora:{files.unet}:1>"))
    assert "NOSUCH" in answer.warnings


def test_a_number_that_is_not_finite_is_no_number(webui: WebUI, files: Files) -> None:
    check(webui, files, "lbw=nan", "nan")


@pytest.fixture
def stop(webui: WebUI) -> Iterator[dict[str, Any]]:
    """The setting for one request; afterwards off again, without writing the host's settings file."""
    yield {"override_settings": {"lbw_on_invalid": "stop"}, "override_settings_restore_afterwards": True}
    off = {"override_settings": {"lbw_on_invalid": "warn"}, "override_settings_restore_afterwards": False}
    webui.render(PROMPT, fresh=True, **off)


def test_with_stop_on_the_generation_ends_with_the_message(
    webui: WebUI, files: Files, none: Answer, stop: dict[str, Any]
) -> None:
    with pytest.raises(RequestError) as failure:
        webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=NOSUCH>", **stop)
    assert "NOSUCH" in failure.value.body
    assert same(webui.render(PROMPT, fresh=True), none)


def test_stop_for_one_request_does_not_stop_the_next(webui: WebUI, files: Files, stop: dict[str, Any]) -> None:
    tag = f"{PROMPT} <lora:{files.both}:1:lbw=NOSUCH>"
    with pytest.raises(RequestError):
        webui.render(tag, **stop)
    assert "NOSUCH" in webui.render(tag, fresh=True).warnings


def test_with_stop_on_good_weights_make_their_picture(webui: WebUI, files: Files, stop: dict[str, Any]) -> None:
    answer = webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=0.5>", **stop)
    assert same(answer, webui.render(f"{PROMPT} <lora:{files.both}:0.5>"))


def test_any_text_as_elemental_preset_gets_a_picture(webui: WebUI, files: Files) -> None:
    rules = script_args(elements="BAD:IN04:attn\n\n:::\n\nBAD2:IN99::x")
    answer = webui.render(f"{PROMPT} <lora:{files.both}:1:lbwe=BAD2>", alwayson_scripts=rules)
    assert same(answer, webui.render(f"{PROMPT} <lora:{files.both}:1>"))
    assert files.both in answer.warnings
    assert "IN99" in answer.warnings
