"""The table of hints: reference weights to look up, to edit, and to load into the tuner."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.core.errors import LbwError
from lbw.files.hints import COLUMNS, HINTS, Hint, hint_problems, hints_of_rows, hints_text, parse_hints, rows_of_hints
from lbw.files.user_presets import PresetStore, Reading

from .gradio_versions import listen, on_page_load, tooltips
from .markup import BAD, REMARK, Text, message
from .tuner import TunerPanel


class HintsPanel:
    """The table, within the page that is being built; a click on a row writes its weights into the tuner's field."""

    def __init__(self, store: PresetStore, tuner: TunerPanel) -> None:
        self.store = store
        self.known = gr.State(None)
        self.conflict = gr.State(None)
        with gr.Accordion("Hints: reference weights", open=False, elem_id="lbw_hints"):
            self.message = gr.HTML(elem_id="lbw_hints_message")
            self.table = gr.Dataframe(
                headers=list(COLUMNS), datatype="str", type="array", row_count=(1, "dynamic"),
                col_count=(len(COLUMNS), "fixed"), interactive=True, wrap=True, elem_id="lbw_hints_table",
                label="Hints",
            )  # fmt: skip
            with gr.Row():
                self.save_button = gr.Button("Save Hints", variant="primary", elem_id="lbw_hints_save")
                self.reload_button = gr.Button("Reload Hints", elem_id="lbw_hints_reload")
            self.keep_mine = gr.Button("Save my version", visible=False, elem_id="lbw_hints_keep_mine")
        tooltips(
            {
                "lbw_hints_table": "A click on a row writes its weights into the field Preset or weights.",
                "lbw_hints_save": "Writes the table to the file; the old file is kept beside it with .bak added.",
                "lbw_hints_reload": "Reads the file again; changes that were not saved are lost.",
                "lbw_hints_keep_mine": "Replaces the file by this table; the file is kept as .bak.",
            }
        )
        outputs = [self.known, self.message, self.conflict, self.keep_mine]
        on_page_load(self._opened, [self.table, *outputs])
        listen(self.reload_button.click, self._opened, (), [self.table, *outputs])
        listen(self.save_button.click, self._saved, [self.table, self.known], outputs)
        listen(self.keep_mine.click, self._saved, [self.table, self.conflict], outputs)
        listen(self.table.select, self._chosen, [self.table], [tuner.weights, self.message])

    def _opened(self) -> list[Any]:
        try:
            reading = self.store.read(HINTS)
            hints = parse_hints(reading.text)
        except LbwError as error:
            return [gr.update(), gr.update(), message(str(error), BAD), None, gr.update(visible=False)]
        return [_table(hints), reading, _said(hints, ""), None, gr.update(visible=False)]

    def _saved(self, rows: Any, known: Reading | None) -> list[Any]:
        hints = hints_of_rows(rows or [])
        if known is None:
            said = message("The file was not read, so it is not replaced. Press Reload Hints.", BAD)
            return [gr.update(), said, None, gr.update(visible=False)]
        try:
            if self.store.changed(HINTS, known.version):
                seen = self.store.read(HINTS)
                others = [hint for hint in parse_hints(seen.text) if hint not in hints]
                said: Text = (
                    "The file changed on the disk since it was read: nothing was saved.",
                    "Hints that only the file has:", ", ".join(hint.name for hint in others) or "none", "·",
                    "Reload Hints takes the file's version.",
                )  # fmt: skip
                return [gr.update(), message(said, REMARK), seen, gr.update(visible=True)]
            saved = self.store.save(HINTS, hints_text(hints), known.version)
        except LbwError as error:
            return [gr.update(), message(("Not saved:", str(error)), BAD), None, gr.update(visible=False)]
        path = self.store.folder / HINTS
        return [saved, _said(hints, ("Saved to", str(path))), None, gr.update(visible=False)]

    def _chosen(self, rows: Any, event: gr.SelectData) -> list[Any]:
        row = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        if not isinstance(row, int) or not 0 <= row < len(rows):
            return [gr.update(), gr.update()]
        hints = hints_of_rows([rows[row]])
        if not hints or not hints[0].weights:
            return [gr.update(), gr.update()]
        return [hints[0].weights, message((f"{hints[0].name}:", "Press Load weights to take these weights."))]


def hints_panel(store: PresetStore, tuner: TunerPanel) -> HintsPanel:
    """Put the table of hints into the page that is being built."""
    return HintsPanel(store, tuner)


def _table(hints: list[Hint]) -> list[list[str]]:
    """Return the rows of the table, one of them empty for a new hint."""
    return [*rows_of_hints(hints), [""] * len(COLUMNS)]


def _said(hints: list[Hint], text: Text) -> str:
    problems = hint_problems(hints)
    return message(text) + message("; ".join(problems), REMARK)
