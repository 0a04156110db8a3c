"use strict";

/** Block sliders, each with a number beside it: their values are written to the text box named by `data-box`. */
document.addEventListener("input", (event) => {
    const sliders = lbwPage.closest(event, ".lbw-weights-sliders");
    const moved = lbwPage.closest(event, ".lbw-weights-slider");
    if (!sliders || !moved) return;
    const [range, number] = moved.querySelectorAll("input");
    if (lbwPage.target(event) === range) number.value = range.value;
    else if (number.value !== "") {
        range.min = String(Math.min(Number(range.min), Number(number.value)));
        range.max = String(Math.max(Number(range.max), Number(number.value)));
        range.value = number.value;
    }
    /** @type {NodeListOf<HTMLInputElement>} */
    const numbers = sliders.querySelectorAll("input[data-block]");
    const entries = Array.from(numbers, (each) => `${each.dataset.block}=${each.value}`);
    lbwPage.enter(lbwPage.box(sliders.dataset.box), entries.join(","));
});
