"use strict";

/**
 * The elements of the panel at a tag, and how they show what the tag says.
 *
 * @typedef {object} LbwSession what the panel is open for
 * @property {HTMLTextAreaElement} textarea
 * @property {number} start of the tag in it
 * @property {number} end
 * @property {number} caret
 * @property {string} text the tag
 * @property {LbwTag} tag what it says
 * @property {LbwLora | null} lora what the server says of its LoRA
 * @property {LbwEntries | null} entries each block's weight; null while unknown
 * @property {string} trouble why the server did not answer, if so
 * @property {string[]} problems what is wrong with the tag
 */
const lbwPanelView = (() => {
    const WORDS = {
        hint: "Alt+L moves here from the tag, Esc closes. Arrow keys: 0.05, with Shift 0.01; keys 0 and 1 set that value.",
        stuck: "These weights cannot be edited block by block; choose a preset or correct the text.",
        unusable: "not allowed in a tag",
    };

    /** @param {string} text */
    function word(text) {
        return lbwPage.word(text);
    }

    /**
     * Return `text` without characters that would end an item or the tag.
     *
     * @param {string} text
     */
    function harmless(text) {
        return text.replace(/[<>:\r\n]/g, "");
    }

    /** The panel of one session. */
    class View {
        /**
         * @param {LbwSession} session
         * @param {(text: string) => void} write replaces the tag in the prompt
         * @param {() => void} dismiss closes the panel
         */
        constructor(session, write, dismiss) {
            this.session = session;
            this.write = write;
            this.isApart = false; // whether to show two strengths even though they are equal
            this.blocks = new lbwPanelBlocks.Blocks((block, value) => this.setBlock(block, value));
            this.title = lbwPage.make("strong", { class: "lbw-name" });
            this.model = lbwPage.make("span", { class: "lbw-model" });
            this.status = lbwPage.make("div", { class: "lbw-status", role: "status", "aria-live": "polite" });
            this.te = this.strength("Strength", "How strongly the LoRA is applied", (text) => this.setTe(text));
            this.unet = this.strength("U-Net", "How strongly it is applied to the image model", (text) => this.setUnet(text));
            this.unet.text.setAttribute("aria-label", word("U-Net strength"));
            this.same = lbwPage.make("input", { type: "checkbox" });
            this.preset = lbwPage.make("select");
            this.weights = lbwPanelControls.box((text) => this.setWeights(harmless(text) || null), {
                class: "lbw-weights", placeholder: "0,OUT00=1",
            });
            this.x = this.item("1", (text) => lbwTag.withX(this.session.text, text));
            this.xField = lbwPanelControls.field("X", "The number that X stands for in the block weights", this.x);
            this.start = this.item("1", (text) => lbwTag.withStep(this.session.text, "start", text));
            this.stop = this.item("–", (text) => lbwTag.withStep(this.session.text, "stop", text));
            this.element = this.build(dismiss);
            this.listen();
            this.setLora();
        }

        // Building ------------------------------------------------------------------------------

        /** @param {() => void} dismiss */
        build(dismiss) {
            const { field, button } = lbwPanelControls;
            const { make } = lbwPage;
            const close = word("Close (Esc)");
            return make("div", { class: "lbw-panel", role: "dialog", "aria-label": word("LoRA Block Weight") },
                make("div", { class: "lbw-head" }, this.title, this.model,
                    make("button", { type: "button", class: "lbw-close", title: close, "aria-label": close,
                        textContent: "×", onclick: dismiss })),
                this.status, this.te.field, this.unet.field,
                make("label", { class: "lbw-check", title: word("One strength for both, the first number in the tag") },
                    this.same, make("span", { textContent: word("Same strength for text encoder and U-Net") })),
                field("Preset", "The presets that fit this LoRA", this.preset),
                field("Weights", "The block weights as written in the tag: a preset, numbers, or 0,OUT00=1", this.weights),
                this.xField,
                make("div", { class: "lbw-steps" },
                    field("From step", "No effect before this step; a number, or a percentage such as 30%", this.start),
                    field("Until step", "No effect from this step on; a number, or a percentage such as 30%", this.stop)),
                this.blocks.element,
                make("div", { class: "lbw-buttons" },
                    button("All 0", "Every block 0", () => this.setWeights("0")),
                    button("All 1", "Every block 1", () => this.setWeights("1")),
                    button("Remove", "The LoRA applies uniformly", () => this.setWeights(null)),
                    make("span", { class: "lbw-hint", textContent: word(WORDS.hint) })));
        }

        listen() {
            this.same.addEventListener("change", () => {
                lbwPrompt.beginGesture();
                this.isApart = !this.same.checked;
                if (this.same.checked) this.setStrength(this.session.tag.te, null);
                this.show();
            });
            this.preset.addEventListener("change", () => {
                lbwPrompt.beginGesture();
                this.setWeights(this.preset.selectedOptions[0].dataset.preset ?? null);
            });
        }

        /**
         * Return the slider and the text box of a strength, and the element around them.
         *
         * @param {string} label
         * @param {string} title
         * @param {(text: string) => void} set
         */
        strength(label, title, set) {
            const range = lbwPanelControls.slider(0, 1.5, set);
            const text = lbwPanelControls.box((number) => (lbwWeights.isNumber(number) ? set(number) : this.show()), {
                class: "lbw-number", "aria-label": word(label),
            });
            return { range, text, field: lbwPanelControls.field(label, title, range, text) };
        }

        /**
         * Return the text box of an item that may be missing.
         *
         * @param {string} placeholder
         * @param {(text: string | null) => string} changed returns the tag with the item's text replaced
         */
        item(placeholder, changed) {
            const set = (/** @type {string} */ text) => this.write(changed(harmless(text) || null));
            return lbwPanelControls.box(set, { class: "lbw-number", placeholder });
        }

        /** Offer the presets and blocks of the session's LoRA. */
        setLora() {
            const { lora } = this.session;
            const options = (lora?.presets ?? []).map((name) => {
                const isUsable = harmless(name) === name;
                const textContent = isUsable ? name : `${name} (${word(WORDS.unusable)})`;
                return lbwPage.make("option", { textContent, disabled: !isUsable, "data-preset": name });
            });
            const none = lbwPage.make("option", { textContent: word("none") });
            const own = lbwPage.make("option", { textContent: word("as written below"), disabled: true });
            this.preset.replaceChildren(none, ...options, own);
            this.places = new Map((lora?.presets ?? []).map((name, place) => [name, place + 1]));
            this.blocks.build(lora);
            this.element.classList.toggle("lbw-wide", lbwPanelBlocks.Blocks.columns(lora) > 2);
        }

        // Changing the tag ----------------------------------------------------------------------

        /** @param {string} text */
        setTe(text) {
            this.setStrength(text, this.same.checked ? null : this.session.tag.unet);
        }

        /** @param {string} text */
        setUnet(text) {
            this.setStrength(this.session.tag.te, text);
        }

        /**
         * @param {string} te
         * @param {string | null} unet
         */
        setStrength(te, unet) {
            this.write(lbwTag.withStrength(this.session.text, te, unet));
        }

        /** @param {string | null} weights */
        setWeights(weights) {
            this.write(lbwTag.withWeights(this.session.text, weights));
        }

        /**
         * @param {string} block
         * @param {string} value
         */
        setBlock(block, value) {
            const { session } = this;
            if (!session.lora) return;
            const weights = lbwWeights.withBlock(session.tag.weights, block, value, session.lora, session.entries);
            if (weights === null) {
                session.problems = [word(WORDS.stuck)];
                this.show();
                return;
            }
            if (session.entries) session.entries = { ...session.entries, [block]: value };
            this.setWeights(weights);
        }

        // Showing -------------------------------------------------------------------------------

        /** Update everything to what the tag says. */
        show() {
            const { tag, lora, entries } = this.session;
            this.title.textContent = tag.name;
            this.title.title = tag.name;
            this.model.textContent = lora?.title ?? "";
            this.showStrengths();
            lbwPanelControls.put(this.weights, tag.weights ?? "");
            const own = this.preset.options.length - 1;
            const place = tag.weights === null ? 0 : this.places?.get(tag.weights) ?? own;
            if (this.preset.selectedIndex !== place) this.preset.selectedIndex = place;
            lbwPanelControls.put(this.x, tag.x ?? "");
            this.xField.hidden = tag.x === null && !lbwWeights.mentionsX(tag.weights ?? "");
            lbwPanelControls.put(this.start, tag.start ?? "");
            lbwPanelControls.put(this.stop, tag.stop ?? "");
            this.blocks.show(entries, tag.x);
            this.showStatus();
            this.move();
        }

        showStrengths() {
            const { tag } = this.session;
            const isSame = tag.te === tag.unet && !this.isApart;
            this.same.checked = isSame;
            this.unet.field.hidden = isSame;
            const [label] = this.te.field.children;
            label.textContent = word(isSame ? "Strength" : "Text encoder");
            this.showStrength(this.te, tag.te);
            this.showStrength(this.unet, tag.unet);
        }

        /**
         * @param {{ range: HTMLInputElement, text: HTMLInputElement }} control
         * @param {string} strength
         */
        showStrength(control, strength) {
            const isPlain = lbwWeights.isNumber(strength);
            control.range.disabled = !isPlain;
            lbwPanelControls.put(control.text, strength);
            if (isPlain) lbwPanelControls.aim(control.range, Number(strength));
        }

        showStatus() {
            const { trouble, problems } = this.session;
            const messages = [...new Set([trouble, ...problems])].filter(Boolean);
            const shown = messages.map((text) => lbwMessages.translated(text)).join("\n");
            if (this.status.textContent !== shown) this.status.textContent = shown;
            this.status.hidden = !shown;
        }

        /** Move it beside the tag. */
        move() {
            const { textarea, start, end } = this.session;
            lbwPanelPosition.move(this.element, textarea, start, end);
        }
    }

    return { View };
})();
