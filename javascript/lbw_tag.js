"use strict";

/**
 * Reading and changing a `<lora:…>` tag as text, and finding the place for a panel beside it.
 *
 * Nothing here touches the page. What a tag says and nobody here knows stays in it, in its place.
 */
var lbwTag = (function () {
    const TAG = /<(lora|lyco):([^>]+)>/g;
    const KEYED = /^\s*(\w+)=([\s\S]*)$/;
    const ALIASES = { w: "lbw" };
    const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

    /** Return the tag of `text` that the caret, or the selection from `from` to `to`, stands in; null if none. */
    function findTag(text, from, to = from) {
        for (const match of text.matchAll(TAG)) {
            const end = match.index + match[0].length;
            if (match.index < from && to < end) return { start: match.index, end, text: match[0] };
            if (match.index >= to) break;
        }
        return null;
    }

    /** Tell whether `text` writes a finite number. */
    function isNumber(text) {
        return NUMBER.test(String(text).trim());
    }

    /** Return a number as text, with at most three decimals. */
    function formatNumber(value) {
        return String(Math.round(value * 1000) / 1000);
    }

    function keyed(item) {
        const match = KEYED.exec(item);
        return match ? { key: ALIASES[match[1]] || match[1], value: match[2].trim() } : null;
    }

    /**
     * Return what a tag says, as text; null for what it does not say.
     *
     * items: its text split at `:`, the name first. ownUnet: whether the U-Net's strength is written at all.
     */
    function readTag(text) {
        const match = /^<(lora|lyco):([^>]+)>$/.exec(text);
        if (!match) return null;
        const items = match[2].split(":");
        const tag = { kind: match[1], name: items[0], items, te: null, unet: null, weights: null, lbwe: null, x: null };
        const positional = [];
        const named = {};
        items.slice(1).forEach((item, place) => {
            const entry = keyed(item);
            if (entry) named[entry.key] = entry.value;
            else positional.push({ text: item.trim(), place: place + 1 });
        });
        tag.weightsPlace = null;
        const second = positional[1];
        if (!("lbw" in named) && second && second.text && !isNumber(second.text) && !second.text.includes("@")) {
            tag.weightsPlace = second.place;
            tag.weights = second.text;
            positional.splice(1, positional.length - 1);
        }
        tag.te = named.te ?? (positional[0] ? positional[0].text : null) ?? "1";
        const unet = named.unet ?? (positional[1] ? positional[1].text : null);
        tag.ownUnet = unet !== null && unet !== undefined;
        tag.unet = tag.ownUnet ? unet : tag.te;
        tag.positional = positional;
        tag.weights = named.lbw ?? tag.weights;
        tag.lbwe = named.lbwe ?? null;
        tag.x = named.x ?? null;
        const span = "step" in named ? /^([^-]*)-(.*)$/.exec(named.step) : null;
        tag.start = span ? span[1].trim() : named.start ?? null;
        tag.stop = span ? span[2].trim() : named.stop ?? null;
        return tag;
    }

    function join(kind, items) {
        return `<${kind}:${items.join(":")}>`;
    }

    /** Return the tag with the last item of `key` set to `value`, added at the end where there is none; null removes. */
    function withKey(text, key, value) {
        const tag = readTag(text);
        const places = tag.items.map((item, place) => (place && keyed(item)?.key === key ? place : 0)).filter(Boolean);
        const items = tag.items.slice();
        if (value === null) return join(tag.kind, items.filter((_, place) => !places.includes(place)));
        if (places.length) {
            const place = places[places.length - 1];
            items[place] = items[place].slice(0, items[place].indexOf("=") + 1) + value;
        } else items.push(`${key}=${value}`);
        return join(tag.kind, items);
    }

    /** Return the tag with other strengths. `unet` is null where it is to follow the text encoder's. */
    function withStrength(text, te, unet) {
        let tag = readTag(text);
        const hasKey = (key) => tag.items.slice(1).some((item) => keyed(item)?.key === key);
        if (hasKey("te")) text = withKey(text, "te", te);
        else {
            const items = tag.items.slice();
            if (tag.positional[0]) items[tag.positional[0].place] = te;
            else items.splice(1, 0, te);
            text = join(tag.kind, items);
        }
        tag = readTag(text);
        if (unet === null && !tag.ownUnet) return text;
        if (hasKey("unet")) return withKey(text, "unet", unet);
        const items = tag.items.slice();
        if (tag.positional[1]) {
            if (unet !== null) items[tag.positional[1].place] = unet;
            else if (tag.positional[2]) items[tag.positional[1].place] = te; // the item after it keeps its place
            else items.splice(tag.positional[1].place, 1);
            return join(tag.kind, items);
        }
        if (hasKey("te") || tag.weightsPlace) return withKey(text, "unet", unet);
        items.splice(tag.positional[0].place + 1, 0, unet);
        return join(tag.kind, items);
    }

    /** Return the tag with other block weights; null removes them. Weights written by place become `lbw=`. */
    function withWeights(text, weights) {
        const tag = readTag(text);
        if (tag.weightsPlace === null) return withKey(text, "lbw", weights);
        const items = tag.items.slice();
        items[tag.weightsPlace] = `lbw=${weights}`;
        const next = tag.weightsPlace + 1;
        if (next < items.length && !keyed(items[next])) {
            items[next] = `${isNumber(items[next]) ? "x" : "lbwe"}=${items[next].trim()}`;
        }
        return weights === null ? withKey(join(tag.kind, items), "lbw", null) : join(tag.kind, items);
    }

    /** Return the tag with another start or stop; null removes it. A `step=A-B` stays one where both are left. */
    function withStep(text, key, value) {
        const tag = readTag(text);
        if (!tag.items.slice(1).some((item) => keyed(item)?.key === "step")) return withKey(text, key, value);
        const start = key === "start" ? value : tag.start;
        const stop = key === "stop" ? value : tag.stop;
        if (start && stop) return withKey(text, "step", `${start}-${stop}`);
        text = withKey(text, "step", null);
        if (start) text = withKey(text, "start", start);
        return stop ? withKey(text, "stop", stop) : text;
    }

    // Block weights -----------------------------------------------------------------------------

    function spelled(block) {
        const match = /^([A-Z]+?)0*(\d+)$/.exec(block.trim().toUpperCase());
        return match ? (match[1] === "MID" ? "M" : match[1]) + match[2] : block.trim().toUpperCase();
    }

    /**
     * Return each block's entry, as text, that `weights` says by itself; null where only the server knows.
     *
     * lora: blocks, layouts and unlisted, as the API gives them.
     */
    function entriesOf(weights, lora) {
        const all = (entry) => Object.fromEntries(lora.blocks.map((block) => [block, entry]));
        if (weights === null) return all("1");
        const entries = weights.split(",").map((entry) => entry.trim());
        if (entries.length === 1) return isNumber(entries[0]) ? all(entries[0]) : null;
        const layout = lora.layouts[entries.length];
        if (!layout || entries.some((entry) => entry.includes("="))) return null;
        const result = all(formatNumber(lora.unlisted?.[entries.length] ?? 0));
        layout.forEach((block, place) => {
            if (block in result) result[block] = entries[place];
        });
        return result;
    }

    /**
     * Return `weights` with one block set to `value`; null where they cannot be changed without guessing.
     *
     * A list of numbers stays one, of the layout of all blocks where its own does not list the block. Everything
     * else gets `BLOCK=value` added. entries: what each block has now, for a preset whose name cannot be built on.
     */
    function withBlock(weights, block, value, lora, entries) {
        if (weights === null || weights === "") return `1,${block}=${value}`;
        const parts = weights.split(",").map((part) => part.trim());
        const full = (from) => lora.blocks.map((id) => (id === block ? value : from[id])).join(",");
        if (lora.presets.includes(weights) && /[,=]/.test(weights)) return entries ? full(entries) : null;
        if (parts.some((part) => part.includes("="))) {
            const kept = parts.filter((part) => !part.includes("=") || spelled(part.split("=")[0]) !== spelled(block));
            return [...kept, `${block}=${value}`].join(",");
        }
        if (parts.length === 1) return `${weights},${block}=${value}`;
        const layout = lora.layouts[parts.length];
        if (!layout) return null;
        const place = layout.indexOf(block);
        if (place < 0) return full(entriesOf(weights, lora));
        return parts.map((part, number) => (number === place ? value : part)).join(",");
    }

    /** Return what an entry is: "zero", "one", "between", "negative", "above", or "other" for what is no number. */
    function stateOf(entry) {
        if (!isNumber(entry)) return "other";
        const value = Number(entry);
        if (value === 0) return "zero";
        if (value === 1) return "one";
        if (value < 0) return "negative";
        return value < 1 ? "between" : "above";
    }

    // Place -------------------------------------------------------------------------------------

    /**
     * Return where a panel of `size` goes so that it stands in `view` and does not cover `tag`.
     *
     * All in pixels of the window; `tag` and `view` have left, top, right and bottom. The height may come out
     * smaller than asked for.
     */
    function place(tag, size, view) {
        const gap = 6;
        const margin = 8;
        const width = Math.min(size.width, view.right - view.left - 2 * margin);
        const below = view.bottom - margin - (tag.bottom + gap);
        const above = tag.top - gap - (view.top + margin);
        const under = size.height <= below || below >= above;
        const height = Math.max(0, Math.min(size.height, under ? below : above));
        const left = Math.max(view.left + margin, Math.min(tag.left, view.right - margin - width));
        return { left, top: under ? tag.bottom + gap : tag.top - gap - height, width, height };
    }

    return {
        findTag, readTag, withKey, withStrength, withWeights, withStep, entriesOf, withBlock, stateOf, place,
        isNumber, formatNumber,
    };
})();
