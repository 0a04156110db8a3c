"use strict";

/**
 * Moves the panels to where they are viewed: the tab, or the accordion of txt2img or img2img.
 *
 * There is only one set of them: input and results are the same everywhere, and the page builds no more for three
 * locations than for one.
 */
(() => {
    /** @type {ResizeObserver | undefined} */
    let observer;

    function install() {
        const root = lbwPage.root();
        const panels = root.querySelector("#lbw_tabs");
        if (!panels) return;
        const others = root.querySelectorAll(".lbw-place");
        const home = lbwPage.make("div", { class: "lbw-place" });
        panels.before(home);
        home.append(panels);
        const places = [home, ...others];

        // A container that becomes visible changes its size from nothing to something, whatever reveals it.
        observer?.disconnect();
        observer = new ResizeObserver(() => {
            const place = places.find((each) => each.getClientRects().length);
            if (place && panels.parentElement !== place) place.append(panels);
        });
        for (const place of places) observer.observe(place);
    }

    window.onUiLoaded?.(install);
})();
