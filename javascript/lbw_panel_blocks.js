"use strict";

/**
 * The sliders of the blocks in the panel at a tag, in the shape of their model.
 *
 * @typedef {object} LbwBlockRow
 * @property {HTMLElement} row
 * @property {HTMLInputElement} range
 * @property {HTMLOutputElement} value
 * @property {string} name the row's label: its block, and whether the LoRA has tensors in it
 */
const lbwPanelBlocks = (() => {
    const COLUMNS = 3; // at most, side by side
    /** @type {Record<LbwState, string>} */
    const SIGNS = { zero: "○", one: "●", between: "◐", negative: "−", above: "▲", random: "~", other: "?" };
    /** @type {Record<LbwState, string>} */
    const STATES = {
        zero: "zero", one: "one", between: "between zero and one", negative: "negative", above: "above one",
        random: "drawn from the seed", other: "not a plain number",
    };
    const WORDS = { untouched: "this LoRA has nothing in this block" };

    class Blocks {
        /**
         * @param {(block: string, value: string) => void} set writes a block's weight
         */
        constructor(set) {
            this.set = set;
            const name = lbwPage.word("Block weights");
            this.element = lbwPage.make("div", { class: "lbw-blocks", role: "group", "aria-label": name });
            /** @type {Map<string, LbwBlockRow>} */
            this.rows = new Map();
        }

        /**
         * Show the blocks of another LoRA; null for none.
         *
         * @param {LbwLora | null} lora
         */
        build(lora) {
            this.rows.clear();
            this.element.replaceChildren();
            if (!lora) return;
            const touched = new Set(lora.touched);
            for (const part of lora.shape) {
                const columns = part.map((blocks) => {
                    const rows = blocks.map((block) => this.row(block, touched.has(block)));
                    return lbwPage.make("div", { class: "lbw-column" }, ...rows);
                });
                this.element.append(lbwPage.make("div", { class: "lbw-part" }, ...columns));
            }
            this.element.style.setProperty("--lbw-columns", String(Blocks.columns(lora)));
        }

        /**
         * Return how many columns are shown side by side.
         *
         * @param {LbwLora | null} lora
         */
        static columns(lora) {
            return Math.min(COLUMNS, Math.max(0, ...(lora?.shape ?? []).map((part) => part.length)));
        }

        /**
         * @param {string} block
         * @param {boolean} isTouched whether the LoRA has tensors in it
         */
        row(block, isTouched) {
            const range = lbwPanelControls.slider(-0.5, 1.5, (text) => this.set(block, text));
            const value = lbwPage.make("output", { class: "lbw-value" });
            const id = lbwPage.make("span", { class: "lbw-id", textContent: block });
            const row = lbwPage.make("label", { class: "lbw-block", "data-block": block }, id, range, value);
            const name = isTouched ? block : `${block}: ${lbwPage.word(WORDS.untouched)}`;
            row.classList.toggle("lbw-untouched", !isTouched);
            range.setAttribute("aria-label", name);
            this.rows.set(block, { row, range, value, name });
            return row;
        }

        /**
         * Show each block's entry.
         *
         * @param {LbwEntries | null} entries null while unknown
         * @param {string | null} x the number that X stands for
         */
        show(entries, x) {
            for (const [block, row] of this.rows) {
                if (entries) showEntry(row, entries[block] ?? "0", x);
                else showNothing(row);
            }
        }
    }

    /** @param {LbwBlockRow} shown */
    function showNothing({ row, range, value, name }) {
        row.dataset.state = "other";
        row.title = name;
        value.textContent = "…";
        range.disabled = true;
        range.setAttribute("aria-valuetext", "");
        lbwPanelControls.aim(range, null);
    }

    /**
     * @param {LbwBlockRow} shown
     * @param {string} entry
     * @param {string | null} x
     */
    function showEntry({ row, range, value, name }, entry, x) {
        const state = lbwWeights.stateOf(entry, x);
        const number = lbwWeights.valueOf(entry, x);
        const hasX = number !== null && lbwWeights.usesX(entry);
        const written = hasX ? `${entry} = ${lbwWeights.formatNumber(number)}` : entry;
        const text = hasX ? `X ${lbwWeights.formatNumber(number)}` : `${SIGNS[state]} ${entry.replace(/^-/, "")}`;
        const told = `${written}, ${lbwPage.word(STATES[state])}`;
        if (!range.disabled && value.textContent === text && range.getAttribute("aria-valuetext") === told) return;
        row.dataset.state = state;
        row.title = number !== null && !hasX ? name : `${name} · ${told}`;
        value.textContent = text;
        range.disabled = false;
        range.setAttribute("aria-valuetext", told);
        lbwPanelControls.aim(range, number);
    }

    return { Blocks };
})();
