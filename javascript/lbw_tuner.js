"use strict";

/** The blocks of the tuner: a click writes the block into the text box that `data-box` names, or takes it out again. */
document.addEventListener("click", (event) => {
    const block = lbwPage.closest(event, ".lbw-state")?.dataset.block;
    const box = lbwPage.box(lbwPage.closest(event, ".lbw-states")?.dataset.box);
    if (!block || !box) return;
    const listed = box.value.split(",").map((text) => text.trim()).filter(Boolean);
    const others = listed.filter((text) => text !== block);
    lbwPage.enter(box, (others.length < listed.length ? others : [...listed, block]).join(", "));
});
