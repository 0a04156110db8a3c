"use strict";

/**
 * The panels stand where they are looked at: in the tab, or in the accordion of txt2img or img2img.
 *
 * There is one of each, which moves: what is typed or found in one place is there in the others, and the page has no
 * more to build for three places than for one.
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

        // A place that comes into view changes its size from nothing to something, whatever shows it.
        observer?.disconnect();
        observer = new ResizeObserver(() => {
            const place = places.find((each) => each.getClientRects().length);
            if (place && panels.parentElement !== place) place.append(panels);
        });
        for (const place of places) observer.observe(place);
    }

    window.onUiLoaded?.(install);
})();
