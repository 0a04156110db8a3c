"use strict";

/** The check list of a preset file: a click on a line's number selects that line in the text box of `data-box`. */
document.addEventListener("click", (event) => {
    const line = Number(lbwPage.closest(event, "[data-line]")?.dataset.line);
    const box = lbwPage.box(lbwPage.closest(event, "table[data-box]")?.dataset.box);
    if (!line || !box) return;
    const ends = Array.from(box.value.matchAll(/\n/g), (match) => match.index);
    const first = line > 1 ? (ends[line - 2] ?? box.value.length) + 1 : 0;
    box.focus();
    box.setSelectionRange(first, ends[line - 1] ?? box.value.length);
    box.scrollTop = (line - 3) * parseFloat(getComputedStyle(box).lineHeight);
    box.scrollLeft = 0;
});
