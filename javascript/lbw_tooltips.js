"use strict";

/** Tooltips: the WebUIs do not translate titles that are added after the page has loaded. */
const lbwTooltips = (() => {
    /**
     * Set each of `texts` as the tooltip of the element with its id.
     *
     * @param {Record<string, string>} texts
     */
    function show(texts) {
        for (const [id, text] of Object.entries(texts)) {
            const element = document.getElementById(id);
            if (element) element.title = lbwPage.word(text);
        }
    }

    return { show };
})();
