"use strict";

/** The controls of the panel at a tag: sliders, text boxes, buttons. Each use of a control is a separate gesture. */
const lbwPanelControls = (() => {
    const STEP = 0.05;

    /**
     * Return a control with its label; `more` goes beside it.
     *
     * @param {string} label
     * @param {string} title
     * @param {HTMLElement} control
     * @param {...HTMLElement} more
     */
    function field(label, title, control, ...more) {
        const text = lbwPage.word(label);
        control.setAttribute("aria-label", text);
        const span = lbwPage.make("span", { textContent: text });
        return lbwPage.make("label", { class: "lbw-field", title: lbwPage.word(title) }, span, control, ...more);
    }

    /**
     * Return a slider; `set` is called with each of its values as text, exactly as chosen.
     *
     * @param {number} low
     * @param {number} high
     * @param {(text: string) => void} set
     */
    function slider(low, high, set) {
        const range = lbwPage.make("input", { type: "range", min: low, max: high, step: STEP, class: "lbw-range" });
        /** @param {number} value */
        const choose = (value) => {
            const text = lbwWeights.formatNumber(value);
            aim(range, Number(text));
            set(text);
        };
        range.addEventListener("pointerdown", lbwPrompt.beginGesture);
        range.addEventListener("input", () => choose(Number(range.value)));
        range.addEventListener("keydown", (event) => {
            if (event.ctrlKey || event.altKey || event.metaKey) return;
            const value = afterKey(event.key, range.dataset.value ?? "", event.shiftKey ? STEP / 5 : STEP);
            if (value === undefined) return;
            event.preventDefault();
            event.stopPropagation();
            if (!event.repeat) lbwPrompt.beginGesture();
            if (value !== null) choose(value);
        });
        return range;
    }

    /**
     * Return the value that a key changes `shown` to; null where it changes nothing, as when `shown` is no number, and
     * undefined for keys that sliders do not use.
     *
     * @param {string} key
     * @param {string} shown
     * @param {number} step
     */
    function afterKey(key, shown, step) {
        /** @type {Record<string, number | undefined>} */
        const values = { Home: 0, End: 1, 0: 0, 1: 1 };
        /** @type {Record<string, number | undefined>} */
        const ways = {
            ArrowUp: step, ArrowRight: step, ArrowDown: -step, ArrowLeft: -step, PageUp: 5 * STEP, PageDown: -5 * STEP,
        };
        const way = ways[key];
        if (way === undefined) return values[key];
        return shown === "" ? null : Number(shown) + way;
    }

    /**
     * Show a value on a slider, widening its range for a value outside of it; null is no number.
     *
     * @param {HTMLInputElement} range
     * @param {number | null} value
     */
    function aim(range, value) {
        range.dataset.value = value === null ? "" : String(value);
        const shown = value ?? 0;
        if (shown < Number(range.min)) range.min = String(Math.floor(shown / STEP) * STEP);
        if (shown > Number(range.max)) range.max = String(Math.ceil(shown / STEP) * STEP);
        if (Number(range.value) !== shown) range.value = String(shown);
        const [min, max] = [Number(range.min), Number(range.max)];
        /** @param {number} number */
        const at = (number) => `${(100 * (number - min)) / (max - min)}%`;
        range.style.setProperty("--lbw-from", at(Math.min(0, shown)));
        range.style.setProperty("--lbw-to", at(Math.max(0, shown)));
    }

    /**
     * Return a text box; `set` is called with its text when editing is finished.
     *
     * @param {(text: string) => void} set
     * @param {Record<string, unknown>} properties
     */
    function box(set, properties) {
        const input = lbwPage.make("input", { type: "text", autocomplete: "off", spellcheck: false, ...properties });
        const commit = () => {
            if (lbwPrompt.isWriting()) return;
            lbwPrompt.beginGesture();
            set(input.value.trim());
        };
        input.addEventListener("change", commit);
        input.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.isComposing) return;
            event.preventDefault();
            commit();
        });
        return input;
    }

    /**
     * Show `text` in a text box, unless the user is editing it.
     *
     * @param {HTMLInputElement} input
     * @param {string} text
     */
    function put(input, text) {
        const isTouched = lbwPage.focused() === input && isUnfinished(input);
        if (input.value !== text && !isTouched) input.value = text;
        input.dataset.shown = text;
    }

    /**
     * Tell whether a text box has edits that are not in the tag yet.
     *
     * @param {HTMLInputElement} input
     */
    function isUnfinished(input) {
        return input.type === "text" && input.value !== input.dataset.shown;
    }

    /**
     * Return a button.
     *
     * @param {string} text
     * @param {string} title
     * @param {() => void} act
     */
    function button(text, title, act) {
        const made = lbwPage.make("button", {
            type: "button", textContent: lbwPage.word(text), title: lbwPage.word(title),
        });
        made.addEventListener("click", () => {
            lbwPrompt.beginGesture();
            act();
        });
        return made;
    }

    return { field, slider, aim, box, put, isUnfinished, button };
})();
