"""The laws that hold for every kind of LoRA: nothing, half, everything."""

from __future__ import annotations

import pytest

from .checkpoint import Checkpoint
from .conftest import PROMPT, Files
from .loras import KINDS, LINEAR_KINDS
from .webui import Answer, WebUI, same

pytestmark = pytest.mark.live
every_kind = pytest.mark.parametrize("kind", KINDS)


def name_of(kind: str, webui: WebUI, files: Files, none: Answer) -> str:
    """The name of this kind's LoRA; skips where the host does not load the kind at all."""
    name = files.kinds[kind]
    if same(webui.render(f"{PROMPT} <lora:{name}:1>"), none):
        pytest.skip(f"this host does not load {kind}: the plain tag changes nothing")
    return name


def numbers(value: float, checkpoint: Checkpoint) -> str:
    """The model's short layout with the same number everywhere."""
    return ",".join([f"{value:g}"] * min(checkpoint.layouts))


@every_kind
def test_all_zeros_give_the_picture_without_the_lora(
    kind: str, webui: WebUI, files: Files, checkpoint: Checkpoint, none: Answer
) -> None:
    name = name_of(kind, webui, files, none)
    assert same(webui.render(f"{PROMPT} <lora:{name}:1:lbw={numbers(0, checkpoint)}>"), none)


@every_kind
def test_all_ones_give_the_picture_of_the_plain_tag(
    kind: str, webui: WebUI, files: Files, checkpoint: Checkpoint, none: Answer
) -> None:
    name = name_of(kind, webui, files, none)
    plain = webui.render(f"{PROMPT} <lora:{name}:1>")
    assert same(webui.render(f"{PROMPT} <lora:{name}:1:lbw={numbers(1, checkpoint)}>"), plain)


@every_kind
def test_half_weights_lie_between_nothing_and_everything(kind: str, webui: WebUI, files: Files, none: Answer) -> None:
    name = name_of(kind, webui, files, none)
    half = webui.render(f"{PROMPT} <lora:{name}:1:lbw=0.5>")
    assert not same(half, none)
    assert not same(half, webui.render(f"{PROMPT} <lora:{name}:1>"))


@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_half_weights_of_a_linear_kind_are_half_the_strength(
    kind: str, webui: WebUI, files: Files, none: Answer
) -> None:
    name = name_of(kind, webui, files, none)
    half = webui.render(f"{PROMPT} <lora:{name}:1:lbw=0.5>")
    assert same(half, webui.render(f"{PROMPT} <lora:{name}:0.5>"))


def test_kinds_that_the_host_cannot_load_are_named_in_a_warning(webui: WebUI, files: Files, none: Answer) -> None:
    names = [name for name in files.kinds.values() if same(webui.render(f"{PROMPT} <lora:{name}:1>"), none)]
    if not names:
        pytest.skip("this host loads every kind")
    for name in names:
        weighted = webui.render(f"{PROMPT} <lora:{name}:1:lbw=0.5>")
        assert same(weighted, none)
        assert name in weighted.warnings


def test_one_number_is_given_to_every_block(webui: WebUI, files: Files, none: Answer) -> None:
    assert same(webui.render(f"{PROMPT} <lora:{files.both}:1:lbw=0>"), none)
