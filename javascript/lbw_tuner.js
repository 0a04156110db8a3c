"use strict";

/** The blocks of the tuner: a click adds the block to the text box named by `data-box`, or removes it. */
document.addEventListener("click", (event) => {
    const block = lbwPage.closest(event, ".lbw-state")?.dataset.block;
    const box = lbwPage.box(lbwPage.closest(event, ".lbw-states")?.dataset.box);
    if (!block || !box) return;
    const listed = box.value.split(",").map((text) => text.trim()).filter(Boolean);
    const others = listed.filter((text) => text !== block);
    lbwPage.enter(box, (others.length < listed.length ? others : [...listed, block]).join(", "));
});
