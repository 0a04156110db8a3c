"use strict";

/**
 * Reading and changing a `<lora:…>` tag as text.
 *
 * Nothing here touches the page. Items that are unknown here stay in the tag, where they are.
 *
 * @typedef {object} LbwItem an item without a key: its text, and its index in the tag, the name being 0
 * @property {string} text
 * @property {number} place
 *
 * @typedef {object} LbwTag the contents of a tag, as text; null for what it lacks
 * @property {string} kind
 * @property {string} name
 * @property {string[]} items the tag's text split at `:`, the name first
 * @property {LbwItem[]} positional the strengths, and what else the host reads by position
 * @property {string} te the text encoder's strength
 * @property {string} unet the U-Net's strength; the text encoder's where the tag has one for both
 * @property {boolean} ownUnet whether the U-Net's strength is written at all
 * @property {string | null} weights the block weights
 * @property {number | null} weightsPlace their index if they are written by position
 * @property {string | null} x the number that X stands for
 * @property {number | null} xPlace its index if it is written by position
 * @property {string | null} start
 * @property {string | null} stop
 *
 * @typedef {object} LbwFound a tag within a text, from `start` to `end`
 * @property {number} start
 * @property {number} end
 * @property {string} text
 */
const lbwTag = (() => {
    const TAG = /<(lora|lyco):([^>]+)>/g;
    const KEYED = /^\s*(\w+)=([\s\S]*)$/;
    /** @type {Record<string, string>} */
    const ALIASES = { w: "lbw" };

    /**
     * Return the tag in `text` that contains the caret, or the selection from `from` to `to`; null if none does.
     *
     * @param {string} text
     * @param {number} from
     * @returns {LbwFound | null}
     */
    function findTag(text, from, to = from) {
        for (const match of text.matchAll(TAG)) {
            const end = match.index + match[0].length;
            if (match.index < from && to < end) return { start: match.index, end, text: match[0] };
            if (match.index >= to) break;
        }
        return null;
    }

    /** @param {string} item */
    function keyed(item) {
        const match = KEYED.exec(item);
        return match ? { key: ALIASES[match[1]] ?? match[1], value: match[2].trim() } : null;
    }

    /**
     * Parse the tag `text`; return null if it is not a tag.
     *
     * @param {string} text
     * @returns {LbwTag | null}
     */
    function readTag(text) {
        const match = /^<(lora|lyco):([^>]+)>$/.exec(text);
        return match ? read(match[1], match[2].split(":")) : null;
    }

    /**
     * @param {string} kind
     * @param {string[]} items
     * @returns {LbwTag}
     */
    function read(kind, items) {
        /** @type {LbwItem[]} */
        const positional = [];
        /** @type {Record<string, string | undefined>} */
        const named = {};
        items.slice(1).forEach((item, place) => {
            const entry = keyed(item);
            if (entry) named[entry.key] = entry.value;
            else positional.push({ text: item.trim(), place: place + 1 });
        });
        let [weights, x] = [named.lbw ?? null, named.x ?? null];
        let weightsPlace = null;
        let xPlace = null;
        const [, second, third] = positional;
        if (weights === null && second?.text && !lbwWeights.isNumber(second.text) && !second.text.includes("@")) {
            weights = second.text;
            weightsPlace = second.place;
            if (third?.place === second.place + 1 && lbwWeights.isNumber(third.text)) {
                x ??= third.text;
                xPlace = third.place;
            }
            positional.splice(1);
        }
        const te = named.te ?? positional[0]?.text ?? "1";
        const unet = named.unet ?? positional[1]?.text;
        const span = named.step === undefined ? null : /^([^-]*)-(.*)$/.exec(named.step);
        return {
            kind, name: items[0], items, positional, te, unet: unet ?? te, ownUnet: unet !== undefined,
            weights, weightsPlace, x, xPlace,
            start: span ? span[1].trim() : named.start ?? null,
            stop: span ? span[2].trim() : named.stop ?? null,
        };
    }

    /**
     * Parse `text`, which is known to be a tag.
     *
     * @param {string} text
     */
    function certain(text) {
        const tag = readTag(text);
        if (!tag) throw new TypeError(`${text} is no tag`);
        return tag;
    }

    /**
     * @param {string} kind
     * @param {string[]} items
     */
    function join(kind, items) {
        return `<${kind}:${items.join(":")}>`;
    }

    /**
     * Return the indices of the items with `key`.
     *
     * @param {LbwTag} tag
     * @param {string} key
     */
    function placesOf(tag, key) {
        return [...tag.items.keys()].filter((place) => place > 0 && keyed(tag.items[place])?.key === key);
    }

    /**
     * Return the tag with the last item of `key` set to `value`, added at the end if there is none; null removes it.
     *
     * @param {string} text
     * @param {string} key
     * @param {string | null} value
     */
    function withKey(text, key, value) {
        const tag = certain(text);
        const { kind, items } = tag;
        const places = placesOf(tag, key);
        if (value === null) return join(kind, items.filter((_, place) => !places.includes(place)));
        const last = places.at(-1);
        if (last === undefined) return join(kind, [...items, `${key}=${value}`]);
        return join(kind, items.with(last, items[last].slice(0, items[last].indexOf("=") + 1) + value));
    }

    /**
     * Return the tag with other strengths. `unet` is null to follow the text encoder's.
     *
     * @param {string} text
     * @param {string} te
     * @param {string | null} unet
     */
    function withStrength(text, te, unet) {
        return withUnet(withTe(text, te), te, unet);
    }

    /**
     * @param {string} text
     * @param {string} te
     */
    function withTe(text, te) {
        const tag = certain(text);
        if (placesOf(tag, "te").length) return withKey(text, "te", te);
        const [first] = tag.positional;
        return join(tag.kind, first ? tag.items.with(first.place, te) : tag.items.toSpliced(1, 0, te));
    }

    /**
     * @param {string} text
     * @param {string} te
     * @param {string | null} unet
     */
    function withUnet(text, te, unet) {
        const tag = certain(text);
        if (unet === null && !tag.ownUnet) return text;
        if (placesOf(tag, "unet").length) return withKey(text, "unet", unet);
        const [first, second, third] = tag.positional;
        if (second) {
            if (unet !== null) return join(tag.kind, tag.items.with(second.place, unet));
            // Kept if an item follows it, so that the other keeps its position.
            return join(tag.kind, third ? tag.items.with(second.place, te) : tag.items.toSpliced(second.place, 1));
        }
        if (!first || unet === null || placesOf(tag, "te").length || tag.weightsPlace) return withKey(text, "unet", unet);
        return join(tag.kind, tag.items.toSpliced(first.place + 1, 0, unet));
    }

    /**
     * Return the tag with other block weights; null removes them. Weights written by position become `lbw=`.
     *
     * @param {string} text
     * @param {string | null} weights
     */
    function withWeights(text, weights) {
        const tag = certain(text);
        if (tag.weightsPlace === null) return withKey(text, "lbw", weights);
        const items = tag.items.with(tag.weightsPlace, `lbw=${weights}`);
        const next = tag.weightsPlace + 1;
        if (next < items.length && !keyed(items[next])) {
            items[next] = `${next === tag.xPlace ? "x" : "lbwe"}=${items[next].trim()}`;
        }
        return weights === null ? withKey(join(tag.kind, items), "lbw", null) : join(tag.kind, items);
    }

    /**
     * Return the tag with another number for X; null removes it.
     *
     * @param {string} text
     * @param {string | null} x
     */
    function withX(text, x) {
        const tag = certain(text);
        if (tag.xPlace === null || placesOf(tag, "x").length) return withKey(text, "x", x);
        return join(tag.kind, x === null ? tag.items.toSpliced(tag.xPlace, 1) : tag.items.with(tag.xPlace, x));
    }

    /**
     * Return the tag with another start or stop; null removes it. A `step=A-B` stays one if both remain.
     *
     * @param {string} text
     * @param {"start" | "stop"} key
     * @param {string | null} value
     */
    function withStep(text, key, value) {
        const tag = certain(text);
        if (!placesOf(tag, "step").length) return withKey(text, key, value);
        const start = key === "start" ? value : tag.start;
        const stop = key === "stop" ? value : tag.stop;
        if (start && stop) return withKey(text, "step", `${start}-${stop}`);
        text = withKey(text, "step", null);
        if (start) text = withKey(text, "start", start);
        return stop ? withKey(text, "stop", stop) : text;
    }

    return { findTag, readTag, withKey, withStrength, withWeights, withX, withStep };
})();
