"""The laws on diffusion transformers: Flux.1, Flux.2, Lumina 2, Z-Image, Wan, Qwen-Image, Krea 2.

Against a WebUI that has such a checkpoint loaded (see conftest.py), in one file with or without its text encoders.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import PROMPT
from .transformer import Change, Transformer, write
from .webui import Answer, WebUI, distance, same

pytestmark = pytest.mark.live
QUICK = {"cfg_scale": 1}
NEAR = 1.0
"""Mean difference, in levels of 0 to 255, of pictures whose weights differ by rounding alone."""


@dataclass(frozen=True)
class Files:
    """Names, as tags use them, of LoRAs with the same changes. alone: the tensors of one block, by naming and block."""

    whole: dict[str, str]
    alone: dict[tuple[str, str], str]
    numbered: str
    with_encoders: str
    encoder: dict[str, str]


def _checkpoint() -> Path | None:
    path = Path(os.environ.get("LBW_CHECKPOINT", "-"))
    return path if path.is_file() and Transformer.fits(path) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    path = _checkpoint()
    model = Transformer(path) if path else None
    if "naming" in metafunc.fixturenames:
        metafunc.parametrize("naming", model.namings if model else ["no model"])
    if "block" in metafunc.fixturenames:
        metafunc.parametrize("block", model.ends if model else ["no model"])
    if "encoder" in metafunc.fixturenames:
        metafunc.parametrize("encoder", model.plan.encoders if model else ["no model"])


@pytest.fixture(scope="session")
def model(checkpoint_path: Path) -> Transformer:
    if not Transformer.fits(checkpoint_path):
        pytest.skip("no diffusion transformer: this is for them, the other live tests are for U-Nets")
    return Transformer(checkpoint_path)


@pytest.fixture(scope="session")
def made(model: Transformer, webui: WebUI) -> Iterator[Files]:
    folder, prefix = Path(os.environ["LBW_LORA_DIR"]), f"lbwtest_{secrets.token_hex(2)}_"

    def file(name: str, changes: list[Change], naming: str = "kohya") -> str:
        write(folder / f"{prefix}{name}.safetensors", changes, naming)
        return prefix + name

    try:
        files = write_files(file, model)
        webui.call("/sdapi/v1/refresh-loras")
        yield files
    finally:
        for path in folder.glob(f"{prefix}*"):
            path.unlink()
        webui.call("/sdapi/v1/refresh-loras")


def write_files(file: Any, model: Transformer) -> Files:
    changes, encoders = model.changes, model.encoder_changes
    return Files(
        whole={naming: file(f"whole-{naming}", changes, naming) for naming in model.namings},
        alone={
            (naming, block): file(f"{block}-{naming}", [c for c in changes if c.block == block], naming)
            for naming in model.namings
            for block in model.ends
        },
        numbered=file("numbered", [c for c in changes if c.block in model.short_layout]),
        with_encoders=file("with-encoders", changes + encoders),
        encoder={c.block: file(c.block, [c]) for c in encoders},
    )


@pytest.fixture(scope="session")
def none(webui: WebUI, model: Transformer) -> Answer:
    """The picture without any LoRA."""
    answer = webui.render(PROMPT, **QUICK)
    assert answer.picture.std() > 5, "the picture without LoRA is blank: it can show nothing"
    return answer


def picture(webui: WebUI, name: str, items: str = "", **payload: Any) -> Answer:
    answer = webui.render(f"{PROMPT} <lora:{name}:1{items}>", **QUICK, **payload)
    assert not answer.warnings, answer.warnings
    return answer


def test_zeros_are_the_picture_without_the_lora(
    naming: str, webui: WebUI, model: Transformer, made: Files, none: Answer
) -> None:
    assert not same(picture(webui, made.whole[naming]), none)
    assert same(picture(webui, made.whole[naming], ":lbw=0"), none)
    zeros = ",".join("0" for _ in model.full_layout)
    assert same(picture(webui, made.whole[naming], f":lbw={zeros}"), none)


def test_ones_are_the_plain_tag(naming: str, webui: WebUI, model: Transformer, made: Files) -> None:
    plain = picture(webui, made.whole[naming])
    assert same(picture(webui, made.whole[naming], ":lbw=1"), plain)
    for layout in (model.full_layout, model.short_layout):
        ones = ",".join("1" for _ in layout)
        assert same(picture(webui, made.whole[naming], f":lbw={ones}"), plain)


def test_a_block_alone_is_a_file_of_its_tensors(
    naming: str, block: str, webui: WebUI, model: Transformer, made: Files, none: Answer
) -> None:
    alone = picture(webui, made.alone[naming, block])
    assert not same(alone, none)
    assert same(picture(webui, made.whole[naming], f":lbw=0,{block}=1"), alone)


def test_a_list_of_the_full_layout_has_the_block_in_its_place(
    block: str, webui: WebUI, model: Transformer, made: Files
) -> None:
    numbers = ",".join("1" if each == block else "0" for each in model.full_layout)
    listed = picture(webui, made.whole["kohya"], f":lbw={numbers}")
    assert same(listed, picture(webui, made.alone["kohya", block]))


def test_a_list_of_the_short_layout_gives_the_numbered_blocks_their_numbers_and_all_others_one(
    webui: WebUI, model: Transformer, made: Files
) -> None:
    values = [f"{(place + 1) / (len(model.short_layout) + 1):.3f}" for place in range(len(model.short_layout))]
    named = ",".join(f"{block}={value}" for block, value in zip(model.short_layout, values, strict=True))
    listed = picture(webui, made.whole["kohya"], f":lbw={','.join(values)}")
    assert same(listed, picture(webui, made.whole["kohya"], f":lbw=1,{named}"))
    assert not same(listed, picture(webui, made.whole["kohya"]))


def test_the_thirds_together_are_the_numbered_blocks(
    webui: WebUI, model: Transformer, made: Files, none: Answer
) -> None:
    thirds = [f"{third}=1" for third in ("EARLY", "MIDDLE", "LATE")]
    together = picture(webui, made.whole["kohya"], f":lbw=0,{','.join(thirds)}")
    assert same(together, picture(webui, made.numbered))
    if len(model.short_layout) >= len(thirds):
        for third in thirds:
            one = picture(webui, made.whole["kohya"], f":lbw=0,{third}")
            assert not same(one, none)
            assert not same(one, together)


def test_letters_and_ranges_mean_their_blocks(webui: WebUI, model: Transformer, made: Files) -> None:
    blocks = model.short_layout
    letters = dict.fromkeys(re.sub(r"\d", "", block) for block in blocks)
    by_letter = picture(webui, made.whole["kohya"], ":lbw=0," + ",".join(f"{letter}=0.5" for letter in letters))
    by_range = picture(webui, made.whole["kohya"], f":lbw=0,{blocks[0]}-{blocks[-1]}=0.5")
    assert same(by_letter, by_range)
    assert same(by_letter, picture(webui, made.numbered, ":lbw=0.5"))


@pytest.mark.parametrize("items", ["", ":lbw=0,LATE=1,IN=0.5"])
def test_every_naming_gives_the_same_picture(
    items: str, webui: WebUI, model: Transformer, made: Files, none: Answer
) -> None:
    pictures = [picture(webui, made.whole[naming], items) for naming in model.namings]
    for other in pictures[1:]:
        assert distance(pictures[0], other) < min(NEAR, distance(pictures[0], none) / 4)


def test_steps(webui: WebUI, made: Files, naming: str) -> None:
    name = made.whole[naming]
    nothing = webui.render(PROMPT, steps=3, **QUICK)
    everything = picture(webui, name, steps=3)
    for items in (":stop=1", ":step=9-20"):
        assert same(picture(webui, name, items, steps=3), nothing)
    assert same(picture(webui, name, ":start=1", steps=3), everything)
    for items in (":start=2", ":stop=2", ":lbw=0.5:step=2-3"):
        gated = picture(webui, name, items, steps=3)
        assert not same(gated, nothing)
        assert not same(gated, everything)
    half = webui.render(f"{PROMPT} <lora:{name}:0.5:stop=2>", steps=3, **QUICK)
    assert same(picture(webui, name, ":lbw=0.5:stop=2", steps=3), half)


def test_one_lora_takes_over_where_another_stops(webui: WebUI, made: Files) -> None:
    """On throughout, in two tags, it is the plain tag."""
    name = made.whole["kohya"]
    relay = webui.render(f"{PROMPT} <lora:{name}:1:stop=2> <lora:{name}:1:start=2>", steps=3, **QUICK)
    assert same(relay, picture(webui, name, steps=3))


def test_two_loras_keep_their_own_weights(webui: WebUI, model: Transformer, made: Files) -> None:
    first, last = model.ends[1], model.ends[-2]
    whole = made.whole["kohya"]
    weighted = f"<lora:{whole}:1:lbw=0,{first}=1> <lora:{made.alone['original', last]}:0.5>"
    plain = f"<lora:{made.alone['kohya', first]}:1> <lora:{made.alone['original', last]}:0.5>"
    assert same(webui.render(f"{PROMPT} {weighted}", **QUICK), webui.render(f"{PROMPT} {plain}", **QUICK))


def test_a_text_encoder_is_a_block_of_its_own(
    encoder: str, webui: WebUI, model: Transformer, made: Files, none: Answer
) -> None:
    if encoder not in made.encoder:
        pytest.skip("the checkpoint's file holds no text encoder")
    alone = picture(webui, made.encoder[encoder])
    assert not same(alone, none)
    assert same(picture(webui, made.with_encoders, f":lbw=0,{encoder}=1"), alone)


def test_base_is_every_text_encoder(webui: WebUI, model: Transformer, made: Files, none: Answer) -> None:
    if not made.encoder:
        pytest.skip("the checkpoint's file holds no text encoder")
    assert same(picture(webui, made.with_encoders, ":lbw=1,BASE=0"), picture(webui, made.whole["kohya"]))
    encoders = ",".join(f"{block}=1" for block in made.encoder)
    base = picture(webui, made.with_encoders, ":lbw=0,BASE=1")
    assert same(base, picture(webui, made.with_encoders, f":lbw=0,{encoders}"))
    assert same(picture(webui, made.with_encoders, ":lbw=0"), none)


def test_the_model_is_as_it_was_afterwards(webui: WebUI, model: Transformer, made: Files, none: Answer) -> None:
    plain = picture(webui, made.with_encoders)
    for items in (":lbw=0.5", f":lbw=0,{model.ends[1]}=2:stop=2", ":lbw=1,BASE=0"):
        webui.render(f"{PROMPT} <lora:{made.with_encoders}:1{items}>", **QUICK, steps=2)
    assert same(picture(webui, made.with_encoders, fresh=True), plain)
    assert same(webui.render(PROMPT, **QUICK, fresh=True), none)
