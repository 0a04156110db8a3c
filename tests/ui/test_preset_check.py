"""The check of a preset file as the editor shows it."""

from __future__ import annotations

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.preset_check import CheckedLine, check_presets
from lbw.ui.preset_check import cells, short_fits
from lbw.ui.presets import PRESETS, check_view

ALL = [a.title for a in ARCHITECTURES.values()]


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        (ALL, "every model"),
        ([], ""),
        (["SD 1.x", "SD 2.x", "SDXL", "SDXL refiner"], "U-Nets"),
        (["SD 1.x", "SDXL"], "SD 1.x, SDXL"),
        (["SD 1.x", "SD 2.x", "SDXL", "SDXL refiner", "Krea 2"], "U-Nets, Krea 2"),
        (["Anima 2B", "Anima with 40 blocks"], "Anima"),
        (["Anima 2B"], "Anima 2B"),
        (["Flux.1", "Chroma", "Krea 2", "Z-Image", "Ideogram 4"], "Flux.1, Chroma, Krea 2 +2"),
    ],
)
def test_models_are_told_in_a_few_words(fits: list[str], expected: str) -> None:
    assert short_fits(fits) == expected


def test_all_models_stand_behind_the_few_words() -> None:
    (line,) = check_presets("X:0,S=1\n").lines
    assert 'title="Flux.1, Chroma, HiDream-I1' in cells(line)[4]


def test_the_names_of_a_file_are_shown_as_text() -> None:
    line = CheckedLine(1, "<b>@flux", "named", ("<i>",), "", "")
    assert not [cell for cell in cells(line) if "<b>" in cell or "<i>" in cell]


def test_the_lines_of_one_name_say_for_which_model_each_is() -> None:
    text = "STYLE@flux:0,S=1\nSTYLE@unet:0,OUT01=1\nSTYLE@flix:1\n"
    view = check_view(PRESETS, text, False)
    assert 'STYLE <small class="lbw-for">@flux</small>' in view
    assert 'STYLE <small class="lbw-for">@unet</small>' in view
    assert "did you mean @flux?" in view
    assert ">2 presets</span>" in view  # STYLE, for two models, and STYLE@flix
