"use strict";

/**
 * Edits a prompt in a way that the browser's own undo can revert.
 *
 * Everything written in one gesture, such as one drag of a slider, is a single undo step.
 */
const lbwPrompt = (() => {
    let isWriting = false;
    let gesture = 0;
    /** @type {{ gesture: number, before: string, after: string, end: number } | null} */
    let last = null;

    // Events of our own edits are hidden from others: completion extensions would take them for typing.
    for (const type of ["beforeinput", "input", "focus", "blur", "focusin", "focusout"]) {
        window.addEventListener(type, (event) => isWriting && event.stopImmediatePropagation(), true);
    }

    /**
     * Run `change` with the focus in `textarea`, and notify the page once that its text has changed.
     *
     * @param {HTMLTextAreaElement} textarea
     * @param {() => void} change
     */
    function inside(textarea, change, takesFocus = true) {
        const active = lbwPage.focused();
        const goesThere = takesFocus && active !== textarea;
        const top = textarea.scrollTop;
        isWriting = true;
        try {
            if (goesThere) textarea.focus({ preventScroll: true });
            change();
            textarea.scrollTop = top;
            if (goesThere && active?.isConnected) active.focus({ preventScroll: true });
        } finally {
            isWriting = false;
        }
        textarea.dispatchEvent(new Event("input", { bubbles: true }));
    }

    /**
     * Replace the text from `start` to `end` in the focused text box; tell whether the browser did it.
     *
     * @param {HTMLTextAreaElement} textarea
     * @param {string} text
     * @param {number} start
     * @param {number} end
     */
    function type(textarea, text, start, end) {
        const more = last?.gesture === gesture && textarea.value === last.after ? last : null;
        if (more) document.execCommand("undo");
        const isBack = more !== null && textarea.value === more.before;
        if (more && !isBack) document.execCommand("redo");
        const before = textarea.value;
        const from = isBack ? more.end : end;
        textarea.setSelectionRange(start, from);
        if (!document.execCommand("insertText", false, text)) return false;
        last = { gesture, before, after: textarea.value, end: from };
        return true;
    }

    /**
     * Replace the text from `start` to `end` by `text`, and put the caret where it was within it.
     *
     * @param {HTMLTextAreaElement} textarea
     * @param {string} text
     * @param {number} start
     * @param {number} end
     * @param {number} caret
     */
    function replace(textarea, text, start, end, caret) {
        const isOnPhone = window.matchMedia("(pointer: coarse)").matches; // the on-screen keyboard would open and close
        const change = () => {
            if (isOnPhone || !type(textarea, text, start, end)) textarea.setRangeText(text, start, end, "end");
            const place = start + Math.min(Math.max(1, caret - start), text.length - 1);
            textarea.setSelectionRange(place, place);
        };
        inside(textarea, change, !isOnPhone);
    }

    /**
     * Undo or redo the last change of a prompt.
     *
     * @param {HTMLTextAreaElement} textarea
     * @param {"undo" | "redo"} command
     */
    function undo(textarea, command) {
        inside(textarea, () => document.execCommand(command));
        last = null;
    }

    /** Begin a gesture: edits from now on are a new undo step. */
    function beginGesture() {
        gesture++;
    }

    /** Note that somebody else changed a prompt. */
    function forget() {
        last = null;
    }

    /**
     * Insert a tag into the prompt beside the panels: in place of its LoRA's tag, or at the end if there is none.
     *
     * @param {string} tag
     * @returns {never[]} what Gradio expects from a function without outputs
     */
    function insertTag(tag) {
        const side = lbwPage.root().querySelector("#tab_img2img #lbw_tabs") ? "img2img" : "txt2img";
        const box = lbwPage.box(`${side}_prompt`);
        if (!box || !tag) return [];
        /** @param {string} text */
        const nameOf = (text) => /^<[^:>]+:[^:>]+/.exec(text)?.[0];
        const old = box.value.match(/<[^:<>]+:[^<>]+>/g)?.find((other) => nameOf(other) === nameOf(tag));
        lbwPage.enter(box, old ? box.value.replace(old, () => tag) : `${box.value.trimEnd()} ${tag}`.trimStart());
        return [];
    }

    return { replace, undo, beginGesture, forget, insertTag, isWriting: () => isWriting };
})();
