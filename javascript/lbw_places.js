"use strict";

/**
 * The panels stand where they are looked at: in the tab, or in the accordion of txt2img or img2img.
 *
 * There is one of each, which moves: what is typed or found in one place is there in the others, and the page has no
 * more to build for three places than for one.
 */
(function () {
    const PANELS = "lbw_tabs";
    const PLACES = ["lbw_txt2img_panels", "lbw_img2img_panels"];
    let observer = null;

    function install() {
        const root = typeof gradioApp === "function" ? gradioApp() : document;
        const find = (id) => root.querySelector(`#${id}`);
        const panels = find(PANELS);
        if (!panels) return;
        const home = document.createElement("div");
        home.className = "lbw-place";
        panels.before(home);
        home.append(panels);
        const places = [home, ...PLACES.map(find).filter(Boolean)];

        // A place that comes into view changes its size from nothing to something, whatever shows it.
        observer?.disconnect();
        observer = new ResizeObserver(() => {
            const place = places.find((each) => each.getClientRects().length);
            if (place && panels.parentElement !== place) place.append(panels);
        });
        for (const place of places) observer.observe(place);
    }

    if (typeof window.onUiLoaded === "function") window.onUiLoaded(install);
    else install();
})();
