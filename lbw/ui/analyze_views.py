"""What the panel *Analyze* shows, as HTML: progress, grid, table, and the pictures of one block."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PIL import Image

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.effective_blocks import NOT_MEASURED, BlockResult, Sample
from lbw.analysis.groups import selector_text
from lbw.analysis.measure import difference, heat_map
from lbw.analysis.request import WHITE
from lbw.analysis.session import ERROR, INFO, WAITING, WARNING, Message
from lbw.analysis.sheet import beside
from lbw.core.tag import find_tags, parse_items
from lbw.core.texts import t

from .markup import BAD, GOOD, REMARK, VERDICT_SIGNS, data_uri, message_view, progress, words

_FORMS = {t("inside"): "{:.3f}", t("outside"): "{:.3f}", t("focus"): "{:.2f}"}


# Text --------------------------------------------------------------------------------------------


def prompt_with(prompt: str, name: str) -> str:
    """Return `prompt` with the tag to analyze the LoRA `name`, replacing the LoRA that was analyzed before."""
    tag = f"<lora:{name}:1:lbw=XYZ>"
    for match in find_tags(prompt):
        if parse_items(match[2].split(":"), {}).weights == "XYZ":
            return prompt[: match.start()] + tag + prompt[match.end() :]
    rest = prompt.rstrip()
    return f"{rest} {tag}" if rest else tag


def tag_with(prompt: str, weights: str) -> str:
    """Return the analyzed tag of `prompt` with `weights` instead of XYZ; empty if there is none."""
    for match in find_tags(prompt):
        items = match[2].split(":")
        if parse_items(items, {}).weights == "XYZ":
            others = [
                weights.join(item.rsplit("XYZ", 1)) if item.strip().endswith("XYZ") else item for item in items[1:]
            ]
            return f"<{match[1]}:{':'.join([items[0], *others])}>"
    return ""


def time_words(seconds: float) -> str:
    """Return a duration as readable text."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


# Pictures ----------------------------------------------------------------------------------------


def sheet_view(image: Image.Image | None, words: str, is_photo: bool = True) -> str:
    """Return a grid or a chart in its own width, or that of the page; empty without an image."""
    if image is None:
        return ""
    address = data_uri(image, is_photo)
    return f'<div class="lbw-sheet"><img src="{address}" alt="{escape(words)}" style="width:{image.width}px"></div>'


def block_view(session: AnalysisSession, label: str, sample: Sample) -> str:
    """Return the pictures of the block `label` at full size, or a message if there are none."""
    analysis = session.analysis
    result = next((result for result in session.results if result.choice.label == label), None)
    if result is None:
        return ""
    if session.request.is_quick:
        return message_view(t("A quick scan renders no pictures."))
    before, after = analysis.pictures(result.choice, sample)
    if before is None or after is None:
        error = result.errors.get(sample)
        if error:
            return message_view(t("{place}: {message}", place=label, message=error), BAD)
        return message_view(
            t("{block} has no picture for {source}.", block=label, source=session.settings.label(sample))
        )
    raw = difference(before.pictures, after.pictures)
    if analysis.settings.diff_color == WHITE:
        raw = 255 - raw
    low, high = analysis.settings.span
    captions = (
        t("source: all blocks at {weight}", weight=f"{high:g}"),
        t("changed: this block at {weight}", weight=f"{low:g}"),
        t("difference"),
        t("heat map"),
    )
    pictures = (before.pictures, after.pictures, raw, heat_map(before.pictures, after.pictures))
    addresses = [data_uri(Image.fromarray(beside(each))) for each in pictures]
    figures = "".join(
        f'<figure><img src="{address}" alt="{escape(caption)}"><figcaption>{words(caption)}</figcaption></figure>'
        for caption, address in zip(captions, addresses)
    )
    source, changed = addresses[:2]
    change = result.changes.get(sample)
    heading = [label, session.settings.label(sample)]
    if change:
        heading.append(t("changed: {percent} %", percent=f"{change.percent:.3f}"))
    return (
        f'<div class="lbw-large"><h4>{words(*heading)}</h4><div class="lbw-large-columns">'
        f"{compare_view(source, changed, label)}"
        f'<div class="lbw-figures">{figures}</div></div></div>'
    )


def compare_view(source: str, changed: str, label: str) -> str:
    """Return two overlaid pictures with a divider that can be moved with the pointer or the arrow keys."""
    return (
        '<figure class="lbw-compare-figure"><div class="lbw-compare" style="--lbw-at:50%">'
        f'<img src="{source}" alt="source"><img class="lbw-over" src="{changed}" alt="{escape(label)} changed">'
        '<span class="lbw-divider"></span>'
        '<input type="range" min="0" max="100" step="0.5" value="50" '
        f'title="{t("Divider: source left, changed right")}">'
        "</div>"
        f"<figcaption>◀ {words(t('source'), t('changed'))} ▶ · {words(t('drag the line'))}</figcaption></figure>"
    )


# Progress ----------------------------------------------------------------------------------------


def progress_view(session: AnalysisSession | None) -> str:
    """Return the progress bar with finished pictures and remaining time."""
    if session is None or (session.over.is_set() and not session.total):
        return ""
    if session.state == WAITING:
        return message_view(t("Waiting for another analysis to finish …"))
    is_quick, is_over = session.request.is_quick, session.over.is_set()
    of = {"done": session.done, "total": session.total}
    texts = [t("{done} / {total} steps", **of) if is_quick else t("{done} / {total} pictures", **of)]
    left = session.seconds_left
    if is_over:
        texts += [t("stopped")] if session.done < session.total else []
    elif session.is_stopping:
        texts.append(t("stopping after this step") if is_quick else t("stopping after this picture"))
    elif left is not None:
        texts.append(t("time left: {time}", time=time_words(left)))
    return progress(session.done, max(1, session.total), texts, is_running=not is_over)


# The table ---------------------------------------------------------------------------------------

_FIRST = dict.fromkeys(("", t("block"), t("suggestion")), "ascending")
"""How the first click on a heading sorts, if not from the largest number down."""


def results_view(session: AnalysisSession | None) -> str:
    """Return the table of blocks; clicking a heading sorts it, clicking a row selects its block (lbw_results.js)."""
    if session is None or not any(result.changes for result in session.results):
        return ""
    suggestion, is_over = session.suggestion, session.over.is_set()
    ranked = sorted(session.results, key=lambda result: -(-1.0 if result.mean is None else result.mean))
    largest = max((result.mean or 0.0 for result in ranked), default=0.0) or 1.0
    masked = [figure for figure in _FORMS if any(result.mean_of(figure) is not None for result in ranked)]
    headings = ["", t("block"), t("mean %"), t("deviation"), *masked, t("suggestion")]
    head = "".join(
        f'<th scope="col" aria-sort="none" data-first="{_FIRST.get(heading, "descending")}">'
        f'<button type="button" title="{t("Sort by this")}">{escape(heading or "#")}</button></th>'
        for heading in headings
    )
    rows = ""
    for rank, result in enumerate(ranked, 1):
        # What is not measured yet is no verdict.
        verdicts = [one for one in suggestion.verdicts_of(result.choice) if is_over or one != NOT_MEASURED]
        rows += _row(rank, result, largest, masked, verdicts)
    rest = selector_text(session.not_measured, session.prepared.architecture) if is_over else ""
    return (
        '<div class="lbw-scroll lbw-results" data-box="lbw_analyze_pick"><table class="lbw-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        + (f"<p>{words(t('Not measured, so they stay at 1: {blocks}', blocks=rest))}</p>" if rest else "")
    )


def _row(rank: int, result: BlockResult, largest: float, masked: Sequence[str], verdicts: Sequence[str]) -> str:
    label = result.choice.label
    kind = verdicts[0].replace(" ", "-") if len(verdicts) == 1 else "mixed"
    verdict_words = " / ".join(f"{VERDICT_SIGNS[verdict]} {words(verdict)}" for verdict in verdicts)
    cells = [
        f"<td>{rank if result.mean is not None else ''}</td>",
        f'<td><button type="button" title="{t("Show its pictures")}">{escape(label)}</button></td>',
        _bar_cell(result.mean, largest),
        _number_cell(result.std if len(result.percents()) > 1 else None, "{:.3f}"),
        *(_number_cell(result.mean_of(figure), _FORMS[figure]) for figure in masked),
        f'<td><span class="lbw-verdict lbw-{kind}">{verdict_words}</span></td>',
    ]
    return f'<tr data-block="{escape(label)}">{"".join(cells)}</tr>'


def _number_cell(value: float | None, form: str) -> str:
    return f'<td data-sort="{"" if value is None else value}">{"–" if value is None else form.format(value)}</td>'


def _bar_cell(value: float | None, largest: float) -> str:
    if value is None:
        return '<td data-sort="-1">–</td>'
    return (
        f'<td data-sort="{value}" class="lbw-bar"><div style="width:{100 * value / largest:.1f}%"></div>'
        f"<span>{value:.3f}</span></td>"
    )


_KINDS = {INFO: GOOD, WARNING: REMARK, ERROR: BAD}


def messages_view(messages: Sequence[Message]) -> str:
    """Return the messages, one per line."""
    return "".join(message_view(message.text, _KINDS[message.level]) for message in messages)


NOTHING_YET = message_view(t("Press Analyze to see which blocks change the picture, how much, and where."), GOOD)
