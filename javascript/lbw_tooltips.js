"use strict";

/** What is shown when the pointer rests on something: the WebUIs translate no titles that come later than the page. */
const lbwTooltips = (() => {
    /**
     * Give each of `texts` to the element with its id.
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
