"""Messages: once each, in the comments, the console and the API's answer."""

from __future__ import annotations

import copy
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from lbw.core.errors import LbwError
from lbw.webui import generation, messages


class Generation:
    def __init__(self) -> None:
        self.comments: list[str] = []
        self.extra_generation_params: dict[str, str] = {}

    def comment(self, text: str) -> None:
        self.comments.append(text)

    def setup_conds(self) -> None:
        """The host computes the conditioning."""


class Silent:
    """A generation of a WebUI without comments."""


@pytest.fixture
def p() -> Generation:
    return Generation()


def test_each_message_stands_once_under_the_image_and_in_the_console(
    p: Generation, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lbw"):
        messages.tell(p, ["one", "two", "one"])
        messages.tell(p, ["two", "three"])
    assert p.comments == [f"LoRA Block Weight: {text}" for text in ("one", "two", "three")]
    assert [record.getMessage() for record in caplog.records] == p.comments


def test_a_generation_that_takes_no_comments_is_told_in_the_console(caplog: pytest.LogCaptureFixture) -> None:
    messages.tell(Silent(), ["one"])
    assert "LoRA Block Weight: one" in caplog.text


def test_the_answer_of_the_api_has_what_was_told(p: Generation) -> None:
    messages.tell(p, ["one", "two"])
    processed = SimpleNamespace(extra_generation_params={"LBW": "<a:lbw=1>"})
    messages.answer(p, processed)
    assert processed.extra_generation_params == {"LBW": "<a:lbw=1>", "LBW warnings": "one\ntwo"}


def test_the_answer_of_the_api_has_no_field_where_nothing_was_told(p: Generation) -> None:
    processed = SimpleNamespace(extra_generation_params={})
    messages.answer(p, processed)
    assert processed.extra_generation_params == {}


def test_the_answer_shares_nothing_with_the_infotexts_that_are_still_to_be_made(p: Generation) -> None:
    messages.tell(p, ["one"])
    messages.answer(p, SimpleNamespace(extra_generation_params=p.extra_generation_params))
    assert p.extra_generation_params == {}


def test_a_copy_of_a_generation_begins_with_nothing_told(p: Generation) -> None:
    messages.tell(p, ["one"])
    messages.tell(copy.copy(p), ["one"])
    assert len(p.comments) == 2


def test_a_generation_that_runs_a_second_time_begins_with_nothing_told(p: Generation) -> None:
    for _ in range(2):
        with generation.running(p):
            messages.tell(p, ["one"])
    assert len(p.comments) == 2


def test_to_stop_is_raised_by_what_comes_after_the_activation(p: Any) -> None:
    messages.stop(p, ["one", "two"])
    with pytest.raises(LbwError, match=r"^LoRA Block Weight: one; two$"):
        p.setup_conds()
    with pytest.raises(LbwError, match="two"):
        p.calculate_hr_conds()


def test_what_was_told_in_a_picture_is_in_its_answer_and_not_in_the_next(a1111: Any) -> None:
    bad = a1111.paint("<lora:a:1:lbw=NOPE>")
    processed = SimpleNamespace(extra_generation_params={})
    messages.answer(bad.p, processed)
    assert '"NOPE"' in processed.extra_generation_params["LBW warnings"]
    processed = SimpleNamespace(extra_generation_params={})
    messages.answer(a1111.paint("<lora:a:1:lbw=MIDD>").p, processed)
    assert processed.extra_generation_params == {}
