"use strict";

/**
 * The panel at a `<lora:…>` tag in a prompt: strength, presets, block weights, start and stop.
 *
 * It opens when the caret enters a tag, by click or by key; Alt+L opens it and moves the focus into it, Esc closes it.
 * Every change is written to the prompt, and no state is kept anywhere else. The server is asked what a tag means;
 * without it, the panel edits what can be read from the tag itself.
 */
(() => {
    const PAUSE = 150; // milliseconds after a change before the server is asked what the tag means
    const CARET_KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);

    /** @type {LbwSession | null} */
    let session = null;
    /** @type {InstanceType<typeof lbwPanelView.View> | null} */
    let view = null;
    /** @type {{ textarea: HTMLTextAreaElement, start: number } | null} the tag at which Esc closed the panel */
    let dismissed = null;
    let asking = 0;
    let moving = 0;

    // Asking the server -------------------------------------------------------------------------

    /**
     * Note why the server did not answer as it should.
     *
     * @param {LbwSession} opened
     * @param {unknown} error
     */
    function fail(opened, error) {
        if (!(error instanceof lbwServer.Refusal)) throw error;
        opened.trouble = error.message;
        opened.problems = error.problems;
    }

    /**
     * Ask the server about the LoRA, then what the tag means.
     *
     * @param {LbwSession} opened
     */
    async function renew(opened) {
        const { name } = opened.tag;
        opened.lora = lbwServer.remembered(name);
        try {
            opened.lora = await lbwServer.lora(name);
            opened.trouble = "";
        } catch (error) {
            fail(opened, error);
            opened.lora = lbwServer.remembered(name);
        }
        if (session !== opened || opened.tag.name !== name) return;
        opened.entries = opened.lora && lbwWeights.entriesOf(opened.tag.weights, opened.lora);
        view?.setLora();
        view?.show();
        explain(opened);
    }

    /**
     * Ask what the tag means, and show it, unless the tag has changed meanwhile.
     *
     * @param {LbwSession} opened
     */
    async function explain(opened) {
        const { text } = opened;
        try {
            const told = await lbwServer.explain(text);
            if (session !== opened || opened.text !== text) return;
            opened.trouble = "";
            opened.problems = told.problems;
            const { tag, lora } = opened;
            if (lora) {
                const own = lbwWeights.entriesOf(tag.weights, lora);
                opened.entries = own ?? lbwWeights.entriesFrom(told.blocks, tag.weights, lora);
            }
        } catch (error) {
            if (session !== opened || opened.text !== text) return;
            fail(opened, error);
        }
        view?.show();
    }

    /** @param {LbwSession} opened */
    function explainSoon(opened) {
        clearTimeout(asking);
        asking = setTimeout(() => session === opened && explain(opened), PAUSE);
    }

    // Writing into the prompt -------------------------------------------------------------------

    /**
     * Replace the session's tag.
     *
     * @param {string} text
     */
    function write(text) {
        if (!session || text === session.text) return;
        const { textarea, start, end, caret } = session;
        lbwPrompt.replace(textarea, text, start, end, caret);
        take(session, lbwTag.findTag(textarea.value, start + 1));
    }

    // Opening, following, closing ---------------------------------------------------------------

    /**
     * @param {HTMLElement} element
     * @returns {element is HTMLTextAreaElement}
     */
    function isPrompt(element) {
        return element instanceof HTMLTextAreaElement && !element.readOnly && !element.disabled &&
            element.closest('[id*="prompt"], .prompt, .lbw-prompt') !== null;
    }

    /** Tell whether a completion extension is showing its list. */
    function isCompleting() {
        return Array.from(document.querySelectorAll(".autocompleteResults")).some(
            (list) => list.getClientRects().length > 0 && getComputedStyle(list).visibility !== "hidden"
        );
    }

    /**
     * Open at the tag under the caret of `textarea`, or follow the caret to it, or close if there is none.
     *
     * @param {HTMLTextAreaElement} textarea
     */
    function follow(textarea, isAsked = false) {
        const found = lbwTag.findTag(textarea.value, textarea.selectionStart, textarea.selectionEnd);
        if (!found || (isCompleting() && !isAsked)) {
            if (!found) dismissed = null;
            if (session?.textarea === textarea) close();
            return;
        }
        if (session?.textarea === textarea && session.start === found.start) {
            session.caret = textarea.selectionStart;
            if (session.text !== found.text) take(session, found);
            return;
        }
        const isDismissed = dismissed?.textarea === textarea && dismissed.start === found.start;
        if (isAsked || (!isDismissed && window.opts?.lbw_panel !== false)) open(textarea, found);
    }

    /**
     * @param {HTMLTextAreaElement} textarea
     * @param {LbwFound} found
     */
    function open(textarea, found) {
        close();
        dismissed = null;
        const tag = lbwTag.readTag(found.text);
        if (!tag) return;
        const lora = lbwServer.remembered(tag.name);
        const entries = lora && lbwWeights.entriesOf(tag.weights, lora);
        const caret = textarea.selectionStart;
        session = { textarea, caret, ...found, tag, lora, entries, trouble: "", problems: [] };
        view = new lbwPanelView.View(session, write, dismiss);
        view.element.addEventListener("keydown", onPanelKey);
        document.body.append(view.element);
        view.show();
        renew(session);
        window.addEventListener("scroll", moveSoon, true);
        window.addEventListener("resize", moveSoon);
        window.visualViewport?.addEventListener("resize", moveSoon);
    }

    /**
     * Update the session from the tag `found`; close if it is gone.
     *
     * @param {LbwSession} opened
     * @param {LbwFound | null} found
     */
    function take(opened, found) {
        const tag = found && lbwTag.readTag(found.text);
        if (!tag) return close();
        const isOther = opened.tag.name !== tag.name;
        Object.assign(opened, found, { tag });
        opened.entries = (opened.lora && lbwWeights.entriesOf(tag.weights, opened.lora)) ?? opened.entries;
        view?.show();
        if (isOther) renew(opened);
        else explainSoon(opened);
    }

    function close(givesFocusBack = false) {
        if (!session) return;
        const { textarea, caret } = session;
        clearTimeout(asking);
        view?.element.remove();
        session = view = null;
        window.removeEventListener("scroll", moveSoon, true);
        window.removeEventListener("resize", moveSoon);
        window.visualViewport?.removeEventListener("resize", moveSoon);
        if (!givesFocusBack) return;
        textarea.focus({ preventScroll: true });
        textarea.setSelectionRange(caret, caret);
    }

    /** Close it, and keep it closed until the caret leaves the tag. */
    function dismiss() {
        if (!session) return;
        dismissed = { textarea: session.textarea, start: session.start };
        close(holds(lbwPage.focused()));
    }

    /** @param {unknown} element */
    function holds(element) {
        return element instanceof Node && view !== null && view.element.contains(element);
    }

    /** @param {Event} event */
    function moveSoon(event) {
        if (holds(event.target)) return;
        cancelAnimationFrame(moving);
        moving = requestAnimationFrame(() => {
            if (!session) return;
            if (session.textarea.isConnected && session.textarea.getClientRects().length) view?.move();
            else close();
        });
    }

    // User input --------------------------------------------------------------------------------

    /**
     * Undo and redo act on the prompt, unless a text box has changes of its own to undo.
     *
     * @param {KeyboardEvent} event
     */
    function onPanelKey(event) {
        const key = event.key.toLowerCase();
        if (!session || (!event.ctrlKey && !event.metaKey) || event.altKey || (key !== "z" && key !== "y")) return;
        if (event.target instanceof HTMLInputElement && lbwPanelControls.isUnfinished(event.target)) return;
        event.preventDefault();
        const { textarea, start } = session;
        lbwPrompt.undo(textarea, key === "y" || event.shiftKey ? "redo" : "undo");
        take(session, lbwTag.findTag(textarea.value, start + 1));
    }

    document.addEventListener("click", (event) => {
        if (!event.isTrusted) return; // after each change, a script of the host clicks its token counter's button
        const target = lbwPage.target(event);
        if (holds(target)) return;
        if (isPrompt(target)) follow(target);
        else if (target.isConnected) close();
    });

    document.addEventListener("keyup", (event) => {
        const target = lbwPage.target(event);
        if (CARET_KEYS.has(event.key) && isPrompt(target)) follow(target);
    });

    document.addEventListener("input", (event) => {
        if (!session || lbwPage.target(event) !== session.textarea || !event.isTrusted) return;
        lbwPrompt.forget();
        follow(session.textarea);
        const opened = session;
        setTimeout(() => opened && session === opened && isCompleting() && close(), 250);
    });

    document.addEventListener("focusin", (event) => {
        const target = lbwPage.target(event);
        if (session && target !== session.textarea && !holds(target)) close();
    });

    document.addEventListener("keydown", (event) => {
        const target = lbwPage.target(event);
        if (event.code === "KeyL" && event.altKey && !event.ctrlKey && !event.metaKey && isPrompt(target)) {
            if (event.getModifierState("AltGraph")) return;
            follow(target, true);
            if (!view) return;
            event.preventDefault();
            event.stopPropagation();
            /** @type {HTMLInputElement | null} */
            const first = view.element.querySelector("input:not(:disabled)");
            first?.focus({ preventScroll: true });
        }
        if (event.key === "Escape" && session && !event.isComposing && !isCompleting()) {
            if (target !== session.textarea && !holds(target)) return;
            event.preventDefault();
            event.stopPropagation();
            dismiss();
        }
    }, true);
})();
