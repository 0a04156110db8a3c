"""The table of hints: reference weights to look up, to edit, and to load into the tuner."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lbw.core.errors import LbwError
from lbw.core.texts import t
from lbw.files.hints import COLUMNS, HINTS, Hint, hint_problems, hints_of_rows, hints_text, parse_hints, rows_of_hints
from lbw.files.user_presets import PresetStore, Reading

from .gradio_versions import Updates, Values, listen, on_page_load, tooltips
from .markup import BAD, REMARK, message_view
from .tuner import TunerPanel


class HintsPanel:
    """The table, within the current page; clicking a row copies its weights into the tuner's field."""

    def __init__(self, store: PresetStore, tuner: TunerPanel) -> None:
        self.store = store
        self.known = gr.State(None)
        self.conflict = gr.State(None)
        with gr.Accordion(t("Hints: reference weights"), open=False, elem_id="lbw_hints"):
            self.message = gr.HTML(elem_id="lbw_hints_message")
            self.table = gr.Dataframe(
                headers=list(COLUMNS), datatype="str", type="array", row_count=(1, "dynamic"),
                col_count=(len(COLUMNS), "fixed"), interactive=True, wrap=True, elem_id="lbw_hints_table",
                label=t("Hints"),
            )  # fmt: skip
            with gr.Row():
                self.save_button = gr.Button(t("Save Hints"), variant="primary", elem_id="lbw_hints_save")
                self.reload_button = gr.Button(t("Reload Hints"), elem_id="lbw_hints_reload")
            self.keep_mine = gr.Button(t("Save my version"), visible=False, elem_id="lbw_hints_keep_mine")
        tooltips(
            {
                "lbw_hints_table": t("Click a row to copy its weights into the field Preset or weights."),
                "lbw_hints_save": t("Saves the table to the file; the old file is kept as .bak."),
                "lbw_hints_reload": t("Reads the file again; unsaved changes are lost."),
                "lbw_hints_keep_mine": t("Replaces the file with this table; the old file is kept as .bak."),
            }
        )
        outputs = {self.known, self.message, self.conflict, self.keep_mine}
        on_page_load(self._opened, {self.table, *outputs})
        listen(self.reload_button.click, self._opened, outputs={self.table, *outputs})
        listen(self.save_button.click, self._saved, {self.table, self.known}, outputs)
        listen(self.keep_mine.click, self._kept, {self.table, self.conflict}, outputs)
        listen(self.table.select, self._chosen, {self.table}, {tuner.weights, self.message})
        self.weights = tuner.weights

    def _opened(self) -> Updates:
        try:
            reading = self.store.read(HINTS)
            hints = parse_hints(reading.text)
        except LbwError as error:
            return self._refused(str(error))
        return {self.table: _table(hints), **self._synced(reading, hints, "")}

    def _saved(self, values: Values) -> Updates:
        return self._save(values[self.table], values[self.known])

    def _kept(self, values: Values) -> Updates:
        """Save the table over the version of the file that differed from it."""
        return self._save(values[self.table], values[self.conflict])

    def _save(self, rows: Any, known: Reading | None) -> Updates:
        hints = hints_of_rows(rows or [])
        if known is None:
            return self._refused(t("The file has not been read, so it is not replaced. Press Reload Hints."))
        try:
            if self.store.changed(HINTS, known.version):
                seen = self.store.read(HINTS)
                others = [hint for hint in parse_hints(seen.text) if hint not in hints]
                only_there = ", ".join(hint.name for hint in others) or t("none")
                messages = (
                    t("The file has changed on disk since it was read: nothing was saved."),
                    t("Hints only in the file: {names}", names=only_there),
                    t("Press Reload Hints to use the file's version."),
                )
                return {
                    self.message: "".join(message_view(message, REMARK) for message in messages),
                    self.conflict: seen,
                    self.keep_mine: gr.update(visible=True),
                }
            saved = self.store.save(HINTS, hints_text(hints), known.version)
        except LbwError as error:
            return self._refused(t("Not saved: {error}", error=error))
        return self._synced(saved, hints, t("Saved to {path}", path=self.store.folder / HINTS))

    def _synced(self, reading: Reading, hints: list[Hint], message: str) -> Updates:
        """Return updates that say that the table belongs to the file `reading`, and what is wrong with `hints`."""
        problems = message_view("; ".join(hint_problems(hints)), REMARK)
        return {
            self.known: reading,
            self.message: message_view(message) + problems,
            self.conflict: None,
            self.keep_mine: gr.update(visible=False),
        }

    def _refused(self, text: str) -> Updates:
        return {
            self.message: message_view(text, BAD),
            self.conflict: None,
            self.keep_mine: gr.update(visible=False),
        }

    def _chosen(self, values: Values, event: gr.SelectData) -> Updates:
        rows = values[self.table]
        row = event.index[0] if isinstance(event.index, (list, tuple)) else event.index
        hints = hints_of_rows([rows[row]]) if isinstance(row, int) and 0 <= row < len(rows) else []
        if not hints or not hints[0].weights:
            return {self.weights: gr.update()}
        return {
            self.weights: hints[0].weights,
            self.message: message_view(t("{name}: Press Load weights to use these weights.", name=hints[0].name)),
        }


def hints_panel(store: PresetStore, tuner: TunerPanel) -> HintsPanel:
    """Add the table of hints to the current page."""
    return HintsPanel(store, tuner)


def _table(hints: list[Hint]) -> list[list[str]]:
    """Return the rows of the table, with an empty one for a new hint."""
    return [*rows_of_hints(hints), [""] * len(COLUMNS)]
