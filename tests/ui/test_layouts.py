"""The lists of layouts and models of Make weights and the tuner, including sizes that are in no list."""

from __future__ import annotations

import pytest

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.errors import WeightsError
from lbw.ui import tuner_models
from lbw.ui.layouts import LAYOUTS, first_layout, layout_called, layouts_of, load, numbers_text, slider_blocks, titles

NAMES = [*ARCHITECTURES, "anima:B20", "flux:D2,S1", "wan:B7", "unknown:B24"]


@pytest.mark.parametrize("name", NAMES)
def test_each_model_has_a_layout_of_all_its_blocks_and_its_title_finds_it_again(name: str) -> None:
    architecture = by_name(name)
    layouts = layouts_of(architecture)
    assert max(len(layout.blocks) for layout in layouts) == len(architecture.blocks)
    assert [layout_called(layout.title) for layout in layouts] == layouts
    assert all(set(layout.blocks) <= set(slider_blocks(layout)) for layout in layouts)


@pytest.mark.parametrize("name", NAMES)
def test_the_layouts_of_the_loaded_model_stand_first_and_no_other_is_missing(name: str) -> None:
    architecture = by_name(name)
    listed = titles(architecture)
    assert listed[0] == first_layout(architecture).title
    assert set(LAYOUTS) <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", NAMES)
def test_each_model_can_be_tuned_and_the_title_of_a_tuner_finds_it_again(name: str) -> None:
    titles_of = tuner_models.titles_of(by_name(name))
    tuners = [tuner_models.new_tuner(title) for title in titles_of]
    assert [tuner_models.title_of(tuner) for tuner in tuners] == titles_of
    assert max(len(tuner.blocks) for tuner in tuners) == len(by_name(name).blocks)
    assert tuner_models.titles(by_name(name))[: len(titles_of)] == titles_of


def test_a_list_of_numbers_is_loaded_in_the_size_that_is_shown() -> None:
    shown = first_layout(by_name("anima:B20"))
    text = ",".join(str(n / 20) for n in range(20))
    found = load(text, shown, {})
    assert (found.layout, found.values["B10"]) == (shown, 0.5)
    assert numbers_text(dict.fromkeys(slider_blocks(shown), 1.0) | dict(found.values), shown) == text.replace(
        "0.0,", "0,"
    )


def test_a_preset_for_one_model_is_loaded_as_that_model_has_it() -> None:
    presets = {"STYLE@flux": "0,S=1", "STYLE@unet": "0,OUT01=1"}
    assert load("STYLE", first_layout(by_name("flux")), presets).values["S37"] == 1
    assert load("STYLE", first_layout(by_name("sdxl")), presets).values["OUT01"] == 1


def test_blocks_with_random_or_inherited_weights_are_told_and_stand_at_zero() -> None:
    # Seeds 1 and 2 draw the same U for D01: two draws do not show what is random.
    flux = first_layout(by_name("flux"))
    found = load("0.5,D00-D01=U,S00=X,S01=R", flux, {})
    assert {block: value for block, value in found.values.items() if value != 0.5} == dict.fromkeys(
        ["D00", "D01", "S00", "S01"], 0.0
    )
    assert found.remark.endswith("at 0: D00, D01, S00, S01")


def test_what_no_model_takes_is_refused_with_the_reason() -> None:
    with pytest.raises(WeightsError, match="no layout has 5 numbers"):
        load("1,1,1,1,1", first_layout(by_name("sdxl")), {})
