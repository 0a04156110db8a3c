"""The panel *Presets*: a preset file in an editor, with a check beside it that follows every key."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import gradio as gr

from lbw.core.errors import LbwError
from lbw.core.preset_check import Check, check_elements, check_presets
from lbw.core.preset_names import key_of
from lbw.core.presets import editor_text, file_text, parse_presets
from lbw.core.texts import t
from lbw.files.atomic import ChangedError
from lbw.files.user_presets import ELEMENTS, WEIGHTS, PresetStore, Reading

from .gradio_versions import Updates, Values, listen, on_page_load, tooltips
from .markup import BAD, GOOD, REMARK, counted, message_view, table, words
from .preset_check import cells, kind_of

_ROWS = 3000
"""Lines that the check shows; of a longer file those with something to say about come first."""
_COMPARED = 5000
"""Lines up to which two versions are compared."""


@dataclass(frozen=True)
class Kind:
    """A sort of preset file: the part of its controls' ids, its title, its file, its check, what a line looks like."""

    name: str
    title: str
    file: str
    check: Callable[[str], Check]
    example: str


PRESETS = Kind(
    "presets",
    t("Presets"),
    WEIGHTS,
    check_presets,
    t("one per line: NAME:1,0,0,… or NAME:0,OUT00=1 or NAME@flux:0,S=1; # marks a comment"),
)
ELEMENTAL = Kind(
    "elements", t("Elemental presets"), ELEMENTS, check_elements,
    t("NAME:BLOCKS:ELEMENTS:WEIGHT, for example NOATTN:IN05-OUT05:attn:0; blank lines between presets"),
)  # fmt: skip
KINDS = {kind.name: kind for kind in (PRESETS, ELEMENTAL)}


class PresetsPanel:
    """The editor of one preset file, within the page that is being built.

    text: the component that holds the text. known: the state that holds the file as it was read. inputs: what
    `with_preset` takes the values of. outputs: what it gives updates for.
    """

    def __init__(self, store: PresetStore, kind: Kind = PRESETS) -> None:
        self.store = store
        self.kind = kind
        self._build()
        self._wire()

    # What the page shows -------------------------------------------------------------------------

    def _build(self) -> None:
        def name(control: str) -> str:
            return f"lbw_{self.kind.name}_{control}"

        self.known = gr.State(None)
        self.seen = gr.State(None)
        self.message = gr.HTML(elem_id=name("message"))
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self.text = gr.Textbox(
                    label=self.kind.title, info=self.kind.example, lines=18, max_lines=18, elem_id=name("text"),
                    elem_classes=["lbw-editor"],
                )  # fmt: skip
                with gr.Row():
                    self.save_button = gr.Button(t("Save Presets"), variant="primary", elem_id=name("save"))
                    self.reload_button = gr.Button(t("Reload Presets"), elem_id=name("reload"))
            with gr.Column(scale=3, min_width=320):
                self.check = gr.HTML(elem_id=name("check"))
        with gr.Column(visible=False, elem_id=name("conflict"), elem_classes=["lbw-conflict"]) as self.conflict:
            self.difference = gr.HTML(elem_id=name("difference"))
            self.theirs = gr.Textbox(
                label=t("The file on disk"), info=t("your version is in the editor above"), lines=8, max_lines=8,
                interactive=False, elem_id=name("theirs"), elem_classes=["lbw-editor"],
            )  # fmt: skip
            with gr.Row():
                self.keep_mine = gr.Button(t("Save my version"), elem_id=name("keep_mine"))
                self.take_theirs = gr.Button(t("Use the file's version"), elem_id=name("take_theirs"))
        with gr.Row(elem_classes=["lbw-row"]):
            self.names = gr.Textbox(
                label=t("Names"), info=t("from the saved file, in order, to copy into an axis of a plot"), lines=2,
                max_lines=4, interactive=False, show_copy_button=True, elem_id=name("names"), scale=5,
            )  # fmt: skip
            self.tags_button = gr.Button(t("Reload Tags"), elem_id=name("reload_tags"), scale=1)
        self.inputs = {self.text, self.known}
        self.outputs = {
            self.text, self.known, self.message, self.check, self.names, self.conflict, self.difference, self.theirs,
            self.seen,
        }  # fmt: skip
        tooltips(
            {
                name("save"): t("Saves the text to the file; the old file is kept as .bak."),
                name("reload"): t("Reads the file again; unsaved changes are compared with it first."),
                name("reload_tags"): t("Reads the names from the file again."),
                name("check"): t("Shows what each line is, which models it fits, and what is wrong with it."),
                name("keep_mine"): t("Replaces the file with the text in the editor; the old file is kept as .bak."),
                name("take_theirs"): t("Replaces the text in the editor with the file."),
            }
        )

    def _wire(self) -> None:
        on_page_load(self._opened, self.outputs)
        listen(self.text.input, self._checked, self.inputs, {self.check})
        listen(self.save_button.click, self._saved, self.inputs, self.outputs)
        listen(self.reload_button.click, self._reloaded, self.inputs, self.outputs)
        listen(self.keep_mine.click, self._kept, {self.text, self.seen}, self.outputs)
        listen(self.take_theirs.click, self._taken, {self.seen}, self.outputs)
        listen(self.tags_button.click, self._tags, outputs={self.names, self.message})

    # What the buttons do -------------------------------------------------------------------------

    def _opened(self) -> Updates:
        """Show the file as it is; where it cannot be read, the editor stays as it is."""
        try:
            reading = self.store.read(self.kind.file)
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        return self._shown(editor_text(reading.text), reading, "")

    def _saved(self, values: Values) -> Updates:
        return self._save(values[self.text], values[self.known])

    def _kept(self, values: Values) -> Updates:
        """Save the editor's version over the one of the file that was shown beside it."""
        return self._save(values[self.text], values[self.seen])

    def _save(self, text: str, known: Reading | None) -> Updates:
        """Save `text` over the file `known`, or show both versions where the file has changed."""
        if known is None:
            return {
                self.message: message_view(
                    t("The file has not been read, so it is not replaced. Press Reload Presets."), BAD
                )
            }
        if self.store.changed(self.kind.file, known.version):
            return self._conflicting(
                text, known, t("The file has changed on disk since it was read: nothing was saved.")
            )
        try:
            reading = self.store.save(self.kind.file, file_text(text, known.text), known.version)
        except LbwError as error:
            return {self.message: message_view(t("Not saved: {error}", error=error), BAD)}
        path = self.store.folder / self.kind.file
        return {**self._shown(text, reading, t("Saved to {path}", path=path)), self.text: gr.update()}

    def with_preset(self, name: str, weights: str, values: Values, is_saved: bool) -> Updates:
        """Return updates of `outputs` that put a preset into the editor, and save it if `is_saved`.

        That of `message`, which is always among them, can be shown by the panel that the preset comes from too. values:
        of `inputs`.
        """
        text, known = values[self.text], values[self.known]
        file = parse_presets(text)
        written = str(file.with_preset(name, weights))
        if is_saved:
            if known is not None and not _is_edited(text, known):
                return {self.text: written, **self._with_preset_on_disk(name, weights, written, known)}
            return {**self._save(written, known), self.text: written}
        message = t("{name} was added to the editor, but is not saved yet.", name=name)
        if name in file.presets:
            message = t("{name} was replaced in the editor, but is not saved yet.", name=name)
        return {
            self.text: written,
            self.check: check_view(self.kind, written, _is_edited(written, known)),
            self.message: message_view(message),
        }

    def _with_preset_on_disk(self, name: str, weights: str, written: str, known: Reading) -> Updates:
        """Set one preset in the file as it is at this moment, whatever else changed there.

        Where somebody else has set the same preset since the file `known`: show both versions, and save nothing.
        """
        key = key_of(name)

        def edit(now: str) -> str:
            file = parse_presets(now)
            if file.presets.get(key) not in (weights, parse_presets(known.text).presets.get(key)):
                raise ChangedError(t("{name} was changed in the file since it was read", name=name))
            return str(file.with_preset(name, weights))

        try:
            reading = self.store.change(self.kind.file, edit)
        except ChangedError:
            message = "The file has changed on disk since it was read: nothing was saved."
            return self._conflicting(written, known, message)
        except LbwError as error:
            return {self.message: message_view(t("Not saved: {error}", error=error), BAD)}
        path = self.store.folder / self.kind.file
        return self._shown(editor_text(reading.text), reading, t("Saved to {path}", path=path))

    def _reloaded(self, values: Values) -> Updates:
        text, known = values[self.text], values[self.known]
        if known is None or not _is_edited(text, known):
            return self._opened()
        if self.store.changed(self.kind.file, known.version):
            return self._conflicting(text, known, t("The file has changed on disk, and so has the text in the editor."))
        return self._conflicting(text, known, t("The text in the editor has not been saved: choose what to keep."))

    def _taken(self, values: Values) -> Updates:
        seen = values[self.seen]
        if seen is None:
            return self._opened()
        return self._shown(editor_text(seen.text), seen, t("The editor now has the file's version."))

    def _tags(self) -> Updates:
        try:
            return {self.names: self._names(self.store.read(self.kind.file)), self.message: ""}
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}

    def _checked(self, values: Values) -> Updates:
        text = values[self.text]
        return {self.check: check_view(self.kind, text, _is_edited(text, values[self.known]))}

    # Updates -------------------------------------------------------------------------------------

    def _names(self, reading: Reading) -> str:
        return ",".join(self.kind.check(reading.text).names)

    def _shown(self, text: str, known: Reading, message: str) -> Updates:
        """Show `text` in the editor, and that it belongs to the file `known`."""
        return {
            self.text: text,
            self.known: known,
            self.message: message_view(message),
            self.check: check_view(self.kind, text, _is_edited(text, known)),
            self.names: self._names(known),
            self.conflict: gr.update(visible=False),
            self.difference: "",
            self.theirs: "",
            self.seen: None,
        }

    def _conflicting(self, text: str, known: Reading, message: str) -> Updates:
        """Show the file's version beside `text`, which the editor holds."""
        try:
            seen = self.store.read(self.kind.file)
        except LbwError as error:
            return {self.message: message_view(str(error), BAD)}
        theirs = editor_text(seen.text)
        return {
            self.known: known,
            self.message: message_view(message, REMARK),
            self.conflict: gr.update(visible=True),
            self.difference: difference_view(theirs, text),
            self.theirs: theirs,
            self.seen: seen,
        }


def presets_panel(store: PresetStore, kind: str = PRESETS.name) -> PresetsPanel:
    """Put the editor of a preset file into the page that is being built: `presets` or `elements`."""
    return PresetsPanel(store, KINDS[kind])


# Views -------------------------------------------------------------------------------------------


def check_view(kind: Kind, text: str, is_edited: bool) -> str:
    """Return the check of `text` as HTML: a sum, and a line for each preset."""
    check = kind.check(text)
    texts = [
        counted(len(check.names), t("1 preset"), t("{count} presets")),
        counted(len(check.problems), t("1 problem"), t("{count} problems")),
    ]
    if check.remarks:
        texts.append(counted(len(check.remarks), t("1 remark"), t("{count} remarks")))
    if is_edited:
        texts.append(t("not saved yet"))
    worst = BAD if check.problems else REMARK if check.remarks else GOOD
    lines = list(check.lines)
    if len(lines) > _ROWS:
        lines = sorted(lines, key=lambda line: not (line.problem or line.remark))[:_ROWS]
        texts.append(t("lines shown: {count}", count=_ROWS))
    rows = table(
        [t("line"), "", t("name"), t("layout"), t("fits"), t("remark")],
        ((kind_of(line), cells(line)) for line in lines),
        f'data-box="lbw_{kind.name}_text"',  # where a click on a line's number leads (lbw_editor.js)
    )
    # The page is not left without a question while it shows this class (lbw_watch.js).
    mark = " lbw-unsaved" if is_edited else ""
    return f'{message_view(texts, worst)}<div class="lbw-scroll{mark}">{rows}</div>'


def difference_view(theirs: str, mine: str) -> str:
    """Return how two versions of a text differ, as HTML."""
    old, new = theirs.splitlines(), mine.splitlines()
    if len(old) > _COMPARED or len(new) > _COMPARED:
        return message_view(t("The two versions are too long to compare here."), REMARK)
    lines = list(difflib.unified_diff(old, new, n=1, lineterm=""))[2:]
    if not lines:
        return message_view(t("The two versions do not differ."))
    kinds = {"-": "theirs", "+": "mine"}
    rows = "".join(f'<div class="lbw-{kinds.get(line[0], "same")}">{escape(line)}</div>' for line in lines[:400])
    signs = f"− {words(t('only in the file'))} · + {words(t('only in the editor'))}"
    return f"<div>{signs}</div><div class='lbw-scroll lbw-difference'>{rows}</div>"


def _is_edited(text: str, known: Reading | None) -> bool:
    return known is not None and text != editor_text(known.text)
