"use strict";

/**
 * The position of the panel at a tag: beside the tag, within the window, never over the tag.
 *
 * All in pixels of the window.
 *
 * @typedef {{ left: number, top: number, right: number, bottom: number }} LbwRectangle
 */
const lbwPanelPosition = (() => {
    const GAP = 6; // between tag and panel
    const MARGIN = 8; // between panel and window
    const MIRRORED = /** @type {const} */ ([
        "boxSizing", "width", "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth", "paddingTop",
        "paddingRight", "paddingBottom", "paddingLeft", "fontFamily", "fontSize", "fontStyle", "fontWeight", "fontStretch",
        "lineHeight", "letterSpacing", "wordSpacing", "textIndent", "textTransform", "tabSize", "direction",
    ]);

    /**
     * Return the visible part of the rectangle around the text from `start` to `end` of `textarea`.
     *
     * @param {HTMLTextAreaElement} textarea
     * @param {number} start
     * @param {number} end
     * @returns {LbwRectangle}
     */
    function rectangle(textarea, start, end) {
        const style = getComputedStyle(textarea);
        const mirror = lbwPage.make("div");
        for (const name of MIRRORED) mirror.style[name] = style[name];
        Object.assign(mirror.style, {
            position: "absolute", visibility: "hidden", left: "0", top: "0", whiteSpace: "pre-wrap",
            overflowWrap: "break-word", borderStyle: "solid", overflow: "hidden",
            width: `${textarea.clientWidth + parseFloat(style.borderLeftWidth) + parseFloat(style.borderRightWidth)}px`,
            boxSizing: "border-box",
        });
        const span = lbwPage.make("span", { textContent: textarea.value.slice(start, end) });
        mirror.append(textarea.value.slice(0, start), span, textarea.value.slice(end) || " ");
        document.body.append(mirror);
        const from = mirror.getBoundingClientRect();
        const text = span.getBoundingClientRect();
        mirror.remove();
        const box = textarea.getBoundingClientRect();
        /** @param {number} value */
        const clip = (value) => Math.max(box.top, Math.min(box.bottom, value));
        return {
            left: box.left + text.left - from.left,
            right: box.left + text.right - from.left,
            top: clip(box.top + text.top - from.top - textarea.scrollTop),
            bottom: clip(box.top + text.bottom - from.top - textarea.scrollTop),
        };
    }

    /** Return the visible part of the window. */
    function view() {
        const screen = window.visualViewport;
        const [left, top] = screen ? [screen.offsetLeft, screen.offsetTop] : [0, 0];
        const [width, height] = screen ? [screen.width, screen.height] : [window.innerWidth, window.innerHeight];
        return { left, top, right: left + width, bottom: top + height };
    }

    /**
     * Return the position of a panel of `size` so that it lies within `view` and does not cover `tag`.
     *
     * The returned height may be smaller than requested.
     *
     * @param {LbwRectangle} tag
     * @param {{ width: number, height: number }} size
     * @param {LbwRectangle} view
     */
    function beside(tag, size, view) {
        const width = Math.min(size.width, view.right - view.left - 2 * MARGIN);
        const below = view.bottom - MARGIN - (tag.bottom + GAP);
        const above = tag.top - GAP - (view.top + MARGIN);
        const isUnder = size.height <= below || below >= above;
        const height = Math.max(0, Math.min(size.height, isUnder ? below : above));
        const left = Math.max(view.left + MARGIN, Math.min(tag.left, view.right - MARGIN - width));
        return { left, top: isUnder ? tag.bottom + GAP : tag.top - GAP - height, width, height };
    }

    /**
     * Move `panel` beside the text from `start` to `end` of `textarea`; hide it while the text is scrolled out of view.
     *
     * @param {HTMLElement} panel
     * @param {HTMLTextAreaElement} textarea
     * @param {number} start
     * @param {number} end
     */
    function move(panel, textarea, start, end) {
        const seen = view();
        const tag = rectangle(textarea, start, end);
        if (tag.bottom < seen.top || tag.top > seen.bottom) {
            panel.style.visibility = "hidden";
            return;
        }
        const scrolled = panel.scrollTop;
        panel.style.maxHeight = "none";
        const at = beside(tag, { width: panel.offsetWidth, height: panel.offsetHeight }, seen);
        Object.assign(panel.style, {
            left: `${at.left}px`, top: `${at.top}px`, maxHeight: `${at.height}px`, visibility: "visible",
        });
        panel.scrollTop = scrolled;
    }

    return { move };
})();
