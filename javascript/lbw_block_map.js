"use strict";

/** The picture of a model's blocks: details of the block under the pointer, or with the focus, are shown below it. */
(() => {
    /** @param {Event} event */
    function tell(event) {
        const more = lbwPage.closest(event, ".lbw-map-block")?.querySelector(".lbw-map-more");
        const told = lbwPage.closest(event, ".lbw-map")?.querySelector(".lbw-map-told");
        if (more && told) told.replaceChildren(...more.cloneNode(true).childNodes);
    }

    document.addEventListener("mouseover", tell);
    document.addEventListener("focusin", tell);
})();
