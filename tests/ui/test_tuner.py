"""What the handlers of the panel *Tuner* answer, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

gr = pytest.importorskip("gradio")

from safetensors.numpy import save_file  # noqa: E402

from lbw.analysis.cells import Cell  # noqa: E402
from lbw.analysis.effective_blocks import NOT_NEEDED  # noqa: E402
from lbw.analysis.request import PictureRequest  # noqa: E402
from lbw.analysis.session import Prepared  # noqa: E402
from lbw.analysis.store import CellStore, Rendered  # noqa: E402
from lbw.analysis.tuner import BOTH, PLUS, Tuner  # noqa: E402
from lbw.analysis.tuner_start import start  # noqa: E402
from lbw.core.architectures import ARCHITECTURES  # noqa: E402
from lbw.core.family import Architecture  # noqa: E402
from lbw.files.user_presets import PresetStore  # noqa: E402
from lbw.ui.presets import presets_panel  # noqa: E402
from lbw.ui.tuner import TunerPanel, tuner_panel  # noqa: E402
from lbw.ui.tuner_fields import Fields  # noqa: E402
from lbw.ui.tuner_models import title_of  # noqa: E402
from lbw.ui.tuner_views import Shown  # noqa: E402

SHOWN = Shown()
SDXL, SD1, FLUX = (ARCHITECTURES[name] for name in ("sdxl", "sd1", "flux"))


class Host:
    """Renders each cell as one gray, the same for all."""

    def __init__(self, cells: Path) -> None:
        self.cells = cells
        self.model: Architecture | None = SDXL

    def loaded(self) -> Architecture | None:
        return self.model

    def samplers(self) -> list[str]:
        return []

    def defaults(self) -> PictureRequest:
        return PictureRequest("<lora:n:1:lbw=XYZ>", width=8, height=8)

    def prepare(self, request: PictureRequest, loras: Any, show: Any, stopped: Any) -> Prepared:
        store = CellStore(self.cells, {"seed": request.seed})
        return Prepared(request.seed, SDXL, {}, {}, store, Gray(), None, "", None)


class Gray:
    def render(self, cell: Cell) -> Rendered:
        return Rendered(np.full((1, 8, 8, 3), 128, np.uint8))

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Show nothing."""


@pytest.fixture
def panel(tmp_path: Path) -> TunerPanel:
    with gr.Blocks():
        return tuner_panel(Host(tmp_path / "cells"), PresetStore(tmp_path))


@pytest.fixture
def tuner() -> Tuner:
    """SDXL in 12 blocks of which OUT04 and OUT05 are open, at 0.5."""
    begun = start(SDXL, 12)
    return begun.sorted_as(begun.blocks[:-2], NOT_NEEDED)


def values(panel: TunerPanel, tuner: Tuner, shown: Shown = SHOWN, **changed: Any) -> dict[Any, Any]:
    """Return what the controls hold: the tuner, its pictures, and the initial values except for `changed`."""
    fields = vars(replace(Fields(), **changed))
    return {
        panel.state: tuner,
        panel.pictures: shown,
        panel.fix_accepted: False,
        **{panel.fields[name]: value for name, value in fields.items()},
        **panel.trainer.first,
        **{control: control.value for control in panel.picture.fields.values()},
    }


def rounds(panel: TunerPanel, tuner: Tuner, **changed: Any) -> dict[Any, Any]:
    """Return what the page shows after a round."""
    page: dict[Any, Any] = {}
    for updates in panel._round(values(panel, tuner, **changed)):
        page.update(updates)
    return page


def clicked(panel: TunerPanel, index: Any, tuner: Tuner, shown: Shown, fix: bool = False) -> tuple[Tuner, str]:
    """Return the tuner, and the message, after a click on a picture of the gallery."""
    held = {**values(panel, tuner, shown), panel.fix_accepted: fix}
    updates = panel._accepted(held, SimpleNamespace(index=index))  # type: ignore[arg-type]
    return updates[panel.state], updates[panel.message]


def test_a_round_shows_every_picture_and_each_is_accepted_by_a_click(panel: TunerPanel, tuner: Tuner) -> None:
    shown = rounds(panel, tuner)[panel.pictures]
    labels = [shot.proposal.label for shot in shown.pictures]
    assert labels == ["as it is", "OUT04 0.5 → 0", "OUT04 0.5 → 1", "OUT05 0.5 → 0", "OUT05 0.5 → 1"]
    after, message = clicked(panel, 4, tuner, shown)
    assert after.by_block["OUT05"].value == 1
    assert not after.by_block["OUT05"].is_fixed
    assert all(word in message for word in ("Accepted:", "OUT05 0.5 → 1"))
    assert clicked(panel, 4, tuner, shown, fix=True)[0].open_blocks == ["OUT04"]
    same, message = clicked(panel, 0, tuner, shown)
    assert same is tuner
    assert "Nothing is changed." in message


@pytest.mark.parametrize("index", [-1, 5, 6, None, [0, 1], "1"])
def test_a_click_on_no_picture_changes_and_says_nothing(panel: TunerPanel, tuner: Tuner, index: Any) -> None:
    shown = rounds(panel, tuner)[panel.pictures]
    assert len(shown.pictures) == 5
    assert clicked(panel, index, tuner, shown) == (tuner, "")


def test_a_picture_of_another_model_is_told_and_not_accepted(panel: TunerPanel, tuner: Tuner) -> None:
    shown = rounds(panel, tuner)[panel.pictures]
    flux = start(FLUX)
    after, message = clicked(panel, 1, flux, shown)
    assert after is flux
    assert "This picture belongs to another model" in message


def test_a_round_of_one_open_block_in_one_direction_is_rendered(panel: TunerPanel, tuner: Tuner) -> None:
    one = tuner.fixed(["OUT04"])
    assert len(rounds(panel, one, direction=PLUS)[panel.pictures].pictures) == 2


def test_a_round_without_anything_to_move_is_refused(panel: TunerPanel, tuner: Tuner) -> None:
    fixed = tuner.fixed(["OUT04", "OUT05"])
    assert "Nothing to render" in rounds(panel, fixed)[panel.message]
    at_the_end = tuner.with_value(["OUT04", "OUT05"], 1)
    assert "Nothing to render" in rounds(panel, at_the_end, direction=PLUS)[panel.message]


def test_pictures_that_are_alike_are_kept_in_one_file(panel: TunerPanel, tuner: Tuner) -> None:
    first = rounds(panel, tuner)[panel.pictures]
    (file,) = {shot.file for shot in first.pictures}
    written = Path(file).stat().st_mtime_ns
    rounds(panel, tuner)
    assert Path(file).stat().st_mtime_ns == written


def test_the_gallery_is_marked_anew_only_where_a_value_changed(panel: TunerPanel, tuner: Tuner) -> None:
    shown = rounds(panel, tuner)[panel.pictures]
    moved = panel._changing(lambda given, _: given.with_value(["OUT05"], 1.0))(values(panel, tuner, shown))
    assert [label[:1] for _, label in moved[panel.gallery]] == ["a", "O", "O", "O", "✓"]
    still = panel._changing(lambda given, _: given)(values(panel, tuner, shown, step="0.25"))
    assert still[panel.state].step == 0.25
    assert still[panel.gallery] == gr.update()


def test_a_change_that_cannot_be_made_is_told_and_leaves_the_tuner(panel: TunerPanel, tuner: Tuner) -> None:
    for changed, named in (({"step": "0"}, "Step"), ({"bounds": "0"}, "Range"), ({"seed": "-1"}, "Seed")):
        updates = panel._changing(lambda given, _: given.fixed(["OUT05"]))(values(panel, tuner, **changed))
        assert updates[panel.state] is tuner
        assert named in updates[panel.message]


def test_a_page_that_is_opened_anew_shows_what_somebody_changed_and_else_the_model_that_is_loaded(
    panel: TunerPanel, tuner: Tuner
) -> None:
    panel._changing(lambda given, _: given)(values(panel, start(FLUX)))
    assert panel._opened()[panel.state].architecture == "sdxl"
    assert panel._opened()[panel.state].history == ()
    panel._changing(lambda given, _: given)(values(panel, tuner))
    assert panel._opened()[panel.state].states == tuner.states


def test_another_model_keeps_the_settings_and_only_those_groups_that_it_has(panel: TunerPanel, tuner: Tuner) -> None:
    held = values(panel, tuner, groups="IN04-IN05", step="0.1", bounds="1,-1", seed="7")
    kept = panel._anew({**held, panel.model: title_of(start(SD1))})
    begun = kept[panel.state]
    assert (begun.architecture, begun.step, begun.bounds, begun.seed) == ("sd1", 0.1, (-1.0, 1.0), 7)
    assert kept[panel.groups] == "IN04 IN05"
    lost = panel._anew({**held, panel.model: title_of(start(FLUX))})
    begun = lost[panel.state]
    assert (begun.architecture, begun.step, begun.groups, lost[panel.groups]) == ("flux", 0.1, (), "")
    refused = panel._anew({**held, panel.step: "none", panel.model: title_of(start(FLUX))})
    assert list(refused) == [panel.message]
    assert "Step" in refused[panel.message]


def test_a_state_that_was_kept_is_gone_on_with(panel: TunerPanel, tuner: Tuner) -> None:
    kept = replace(tuner, step=0.1, seed=9)
    held = {**values(panel, tuner), panel.suggestion: kept.to_json(), panel.model: title_of(start(FLUX))}
    assert panel._suggested(held)[panel.state] == kept
    refused = panel._suggested({**held, panel.suggestion: "{}"})
    assert list(refused) == [panel.message]
    assert refused[panel.message] != ""


def test_a_name_that_no_preset_can_have_is_told_and_gives_no_line(panel: TunerPanel, tuner: Tuner) -> None:
    assert panel._views(tuner, None, values(panel, tuner, name="MINE"))[panel.preset].startswith("MINE:0,0,")
    updates = panel._views(tuner, None, values(panel, tuner, name="a:b"))
    assert updates[panel.preset] == ""
    assert "a:b" in updates[panel.message]
    assert panel._views(tuner, None, values(panel, tuner, name="a:b"), "told before")[panel.message] == "told before"


def test_a_value_that_is_no_number_is_named(panel: TunerPanel, tuner: Tuner) -> None:
    filled = panel._changing(panel._with_weights)
    held = {**values(panel, tuner, direction=BOTH), panel.weights: "0.5", panel.fill: "much"}
    assert "much" in filled(held)[panel.message]
    held = {**held, panel.weights: "0,OUT05=1", panel.fill: "0.25"}
    assert filled(held)[panel.state].by_block["OUT05"].value == 1


def test_a_preset_goes_into_the_editor_and_both_panels_tell(tmp_path: Path, tuner: Tuner) -> None:
    store = PresetStore(tmp_path)
    with gr.Blocks():
        editor = presets_panel(store)
        panel = tuner_panel(Host(tmp_path / "cells"), store, editor)
    known = store.read("lbwpresets.txt")
    held = {**values(panel, tuner, name="MINE"), editor.text: "A:1\n", editor.known: known}
    updates = panel._added(held)
    assert updates[editor.text] == f"A:1\nMINE:{tuner.weights}\n"
    assert updates[panel.message] == updates[editor.message]
    assert "not saved yet" in updates[panel.message]
    assert updates.keys() <= {panel.message, *editor.outputs}
    refused = panel._added({**held, panel.name: "a:b"})
    assert list(refused) == [panel.message]


# The model that a fresh tuner is for -------------------------------------------------------------


class Loras:
    """LoRA files of one module each, for the models that its name and width tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_lora(folder / "painter.safetensors", "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768)
        write_lora(folder / "poet.safetensors", "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 2048)

    def find(self, name: str) -> str | None:
        return self.lora_files().get(name)

    def lora_files(self) -> dict[str, str]:
        return {path.stem: str(path) for path in self.folder.glob("*.safetensors")}


def write_lora(path: Path, module: str, width: int) -> None:
    down, up = np.zeros((2, width)), np.zeros((8, 2))
    save_file({f"lora_unet_{module}.lora_down.weight": down, f"lora_unet_{module}.lora_up.weight": up}, path)


@pytest.fixture
def following(tmp_path: Path) -> TunerPanel:
    """The tuner of a host that has not loaded a model, and whose LoRAs are for SD 1.x and SDXL."""
    host = Host(tmp_path / "cells")
    host.model = None
    with gr.Blocks():
        return tuner_panel(host, PresetStore(tmp_path), loras=Loras(tmp_path))


def prompted(panel: TunerPanel, tuner: Tuner, prompt: str, **changed: Any) -> dict[Any, Any]:
    """Return the updates after the prompt became another."""
    return panel._followed({**values(panel, tuner, **changed), panel.picture.prompt: prompt})


def test_a_fresh_tuner_follows_the_lora_of_the_prompt(following: TunerPanel) -> None:
    opened = following._opened()[following.state]
    assert title_of(opened) == "SDXL: 12 blocks"
    updates = prompted(following, opened, "<lora:poet:1> a cat <lora:painter:1:lbw=XYZ>", step="0.1", groups="OUT01")
    assert title_of(updates[following.state]) == "SD 1.x: 17 blocks"
    assert updates[following.model]["value"] == "SD 1.x: 17 blocks"
    assert updates[following.state].step == 0.1
    updates = prompted(following, updates[following.state], "a cat <lora:poet:1>")
    assert updates[following.state].architecture == "sdxl"
    assert following._opened()[following.state].architecture == "sdxl"


def test_a_fresh_tuner_follows_the_model_that_was_loaded_meanwhile(following: TunerPanel) -> None:
    opened = following._opened()[following.state]
    following.host.model = SD1  # type: ignore[attr-defined]
    for prompt in ("a cat", "a cat <lora:nowhere:1:lbw=XYZ>", "a cat <lora:x:1:start=soon>"):
        assert prompted(following, opened, prompt)[following.state].architecture == "sd1"


def test_a_model_that_somebody_chose_gives_way_to_no_other_but_the_loras(following: TunerPanel) -> None:
    following.host.model = SD1  # type: ignore[attr-defined]
    held = values(following, following._opened()[following.state])
    chosen = following._anew({**held, following.model: title_of(start(SDXL))})[following.state]
    assert prompted(following, chosen, "a cat")[following.state] is chosen
    assert prompted(following, chosen, "<lora:poet:1>")[following.state] is chosen
    assert prompted(following, chosen, "<lora:painter:1>")[following.state].architecture == "sd1"


def test_what_is_tuned_already_follows_nothing(following: TunerPanel, tuner: Tuner) -> None:
    updates = prompted(following, tuner, "<lora:painter:1:lbw=XYZ>")
    assert updates == {following.state: tuner}
