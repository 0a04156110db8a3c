"use strict";

/**
 * Block weights as text: each block's entry, and the text with one block changed.
 *
 * Nothing here touches the page.
 *
 * @typedef {Record<string, string>} LbwEntries each block's weight as written: a number, `R`, `U`, `X+0.2`
 *
 * @typedef {object} LbwLora what the server knows about a LoRA; see `/docs`
 * @property {string} title
 * @property {string[]} blocks
 * @property {string[]} touched
 * @property {string[][][]} shape
 * @property {Record<string, string[]>} layouts
 * @property {Record<string, number>} [unlisted]
 * @property {string[]} presets
 *
 * @typedef {"zero" | "one" | "between" | "negative" | "above" | "random" | "other"} LbwState
 */
const lbwWeights = (() => {
    const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
    const X = /^X([+-].+)?$/;
    const RANDOM = /^[RU]$/;

    /**
     * Tell whether `text` is a finite number.
     *
     * @param {string} text
     */
    function isNumber(text) {
        return NUMBER.test(text.trim());
    }

    /**
     * Return a number as text, with at most three decimals.
     *
     * @param {number} value
     */
    function formatNumber(value) {
        return String(Math.round(value * 1000) / 1000);
    }

    /**
     * Tell whether an entry is the tag's `x=`, with or without an offset.
     *
     * @param {string} entry
     */
    function usesX(entry) {
        return X.test(entry);
    }

    /**
     * Return the number that an entry stands for, null if there is none or it is random.
     *
     * @param {string} entry
     * @param {string | null} x the tag's `x=`
     */
    function valueOf(entry, x) {
        if (isNumber(entry)) return Number(entry);
        const match = X.exec(entry);
        const parts = match ? [x ?? "1", match[1] ?? "0"] : [];
        return match && parts.every(isNumber) ? Number(parts[0]) + Number(parts[1]) : null;
    }

    /**
     * Return the kind of an entry; "other" if it is not a weight.
     *
     * @param {string} entry
     * @param {string | null} x the tag's `x=`
     * @returns {LbwState}
     */
    function stateOf(entry, x) {
        const value = valueOf(entry, x);
        if (value === null) return RANDOM.test(entry) ? "random" : "other";
        if (value === 0) return "zero";
        if (value === 1) return "one";
        if (value < 0) return "negative";
        return value < 1 ? "between" : "above";
    }

    /**
     * Tell whether block weights contain an X, as far as they are written out.
     *
     * @param {string} weights
     */
    function mentionsX(weights) {
        return split(weights).some((part) => usesX(part.slice(part.lastIndexOf("=") + 1).trim()));
    }

    /** @param {string} text */
    function isEntry(text) {
        return stateOf(text, null) !== "other";
    }

    /** @param {string} weights */
    function split(weights) {
        return weights.split(",").map((part) => part.trim());
    }

    /** @param {string} block */
    function normalized(block) {
        const match = /^([A-Z]+?)0*(\d+)$/.exec(block.trim().toUpperCase());
        return match ? (match[1] === "MID" ? "M" : match[1]) + match[2] : block.trim().toUpperCase();
    }

    /**
     * Return the `blocks` that a selector names by id, as a range or by their letters; none for other groups.
     *
     * @param {string} selector
     * @param {string[]} blocks
     */
    function selected(selector, blocks) {
        const ids = blocks.map(normalized);
        const [first, last] = selector.split("-").map((end) => ids.indexOf(normalized(end)));
        if (last !== undefined) return first < 0 || last < 0 ? [] : blocks.slice(first, last + 1);
        if (first >= 0) return [blocks[first]];
        return blocks.filter((_, place) => ids[place].replace(/\d+$/, "") === normalized(selector));
    }

    /**
     * Return each block's entry as far as `weights` alone tells; null if only the server knows.
     *
     * @param {string | null} weights
     * @param {LbwLora} lora
     * @returns {LbwEntries | null}
     */
    function entriesOf(weights, lora) {
        /** @param {string} entry */
        const all = (entry) => Object.fromEntries(lora.blocks.map((block) => [block, entry]));
        if (weights === null) return all("1");
        const entries = split(weights);
        if (entries.length === 1) return isEntry(entries[0]) && !lora.presets.includes(weights) ? all(entries[0]) : null;
        const layout = lora.layouts[entries.length];
        if (!layout || entries.some((entry) => entry.includes("="))) return null;
        const result = all(formatNumber(lora.unlisted?.[entries.length] ?? 0));
        layout.forEach((block, place) => {
            if (block in result) result[block] = entries[place];
        });
        return result;
    }

    /**
     * Return the server's number for each block, as entries; random ones and those with an X as `weights` has them.
     *
     * @param {Record<string, number>} numbers
     * @param {string | null} weights
     * @param {LbwLora} lora
     * @returns {LbwEntries}
     */
    function entriesFrom(numbers, weights, lora) {
        const result = Object.fromEntries(Object.entries(numbers).map(([block, value]) => [block, formatNumber(value)]));
        const parts = split(weights ?? "");
        if (!parts.some((part) => part.includes("="))) return result;
        /** @type {LbwEntries} */
        const written = {};
        for (const part of parts) {
            const [selector, entry] = part.includes("=") ? part.split("=") : ["", part];
            for (const block of selector ? selected(selector, lora.blocks) : lora.blocks) written[block] = entry.trim();
        }
        for (const [block, entry] of Object.entries(written)) {
            if (block in result && isEntry(entry) && !isNumber(entry)) result[block] = entry;
        }
        return result;
    }

    /**
     * Return `weights` with one block set to `value`; null if that would take guessing.
     *
     * A list of numbers stays a list, in the layout of all blocks if its own lacks the block. Everything else gets
     * `BLOCK=value` added.
     *
     * @param {string | null} weights
     * @param {string} block
     * @param {string} value
     * @param {LbwLora} lora
     * @param {LbwEntries | null} entries the current entries, for a preset whose name cannot be extended
     */
    function withBlock(weights, block, value, lora, entries) {
        if (weights === null || weights === "") return `1,${block}=${value}`;
        const parts = split(weights);
        /** @param {LbwEntries | null} from */
        const full = (from) => from && lora.blocks.map((id) => (id === block ? value : from[id])).join(",");
        if (lora.presets.includes(weights) && /[,=]/.test(weights)) return full(entries);
        if (parts.some((part) => part.includes("="))) {
            const id = normalized(block);
            const kept = parts.filter((part) => !part.includes("=") || normalized(part.split("=")[0]) !== id);
            return [...kept, `${block}=${value}`].join(",");
        }
        if (parts.length === 1) return `${weights},${block}=${value}`;
        const layout = lora.layouts[parts.length];
        if (!layout) return null;
        const place = layout.indexOf(block);
        return place < 0 ? full(entriesOf(weights, lora)) : parts.with(place, value).join(",");
    }

    return { isNumber, formatNumber, usesX, mentionsX, valueOf, stateOf, entriesOf, entriesFrom, withBlock };
})();
