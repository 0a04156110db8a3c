"use strict";

/**
 * The panel at a `<lora:…>` tag in a prompt: strength, presets, block weights, start and stop.
 *
 * It opens where the caret comes to stand in a tag, by click or by key; Alt+L opens it and goes into it, Esc closes
 * it. Every change is written into the prompt, which is the only place where anything is kept. What a tag means is
 * asked of the server; without it, the panel edits what can be read from the tag itself.
 */
(function () {
    const API = "./lbw/v1";
    const FRESH = 10000; // milliseconds for which the server's answer about a LoRA is not asked for again
    const STEP = 0.05;
    const SIGNS = { zero: "○", one: "●", between: "◐", negative: "−", above: "▲", other: "?" };
    const STATES = {
        zero: "zero", one: "one", between: "between zero and one", negative: "negative", above: "above one",
        other: "no plain number",
    };
    const WORDS = {
        hint: "Alt+L goes here from the tag, Esc closes. Arrows: 0.05, with Shift 0.01; keys 0 and 1 set just that.",
        offline: "The server does not answer. Strength, steps and the text of the weights can still be edited.",
        login: "The server asks for the credentials of its API; open this address and log in:",
        stuck: "These weights cannot be changed block by block; choose a preset, or correct their text.",
        unusable: "cannot stand in a tag",
        untouched: "this LoRA has nothing in this block",
    };

    let session = null; // what the panel is open for
    let dismissed = null; // the tag that the panel was closed at with Esc
    let writing = false; // while we ourselves change the prompt
    let lastWrite = null; // for taking a whole gesture back at once
    let gesture = 0;
    const loras = new Map(); // what the server said about each, by name

    /** Return `text` in the page's language. */
    function word(text) {
        return (window.localization && window.localization[text]) || text;
    }

    function make(name, properties = {}, ...children) {
        const element = document.createElement(name);
        for (const [key, value] of Object.entries(properties)) {
            if (key === "class") element.className = value;
            else if (key.includes("-") || key === "for" || key === "list") element.setAttribute(key, value);
            else element[key] = value;
        }
        element.append(...children);
        return element;
    }

    // The server --------------------------------------------------------------------------------

    async function ask(path, body) {
        const abort = new AbortController();
        const timer = setTimeout(() => abort.abort(), 8000);
        try {
            const answer = await fetch(API + path, {
                method: body ? "POST" : "GET",
                credentials: "same-origin",
                headers: { "Content-Type": "application/json", "X-Requested-With": "lbw" },
                body: body && JSON.stringify(body),
                signal: abort.signal,
            });
            const content = await answer.json().catch(() => ({}));
            if (answer.ok) return content;
            const error = new Error(typeof content.detail === "string" ? content.detail : answer.statusText);
            error.status = answer.status;
            throw error;
        } finally {
            clearTimeout(timer);
        }
    }

    function toldOf(error) {
        if (error.status === 401) return `${word(WORDS.login)} ${new URL(`${API}/presets`, location.href)}`;
        return error.status ? error.message : word(WORDS.offline);
    }

    async function loadLora(opened) {
        const name = opened.tag.name;
        const known = loras.get(name);
        if (known) {
            opened.lora = known.lora;
            if (Date.now() - known.time < FRESH) return;
        }
        try {
            const lora = await ask(`/loras/${encodeURIComponent(name).replaceAll("%2F", "/")}`);
            const same = known && JSON.stringify(known.lora) === JSON.stringify(lora);
            loras.set(name, { lora: same ? known.lora : lora, time: Date.now() });
            opened.lora = loras.get(name).lora;
            opened.trouble = "";
        } catch (error) {
            opened.trouble = toldOf(error);
            if (error.status === 404) {
                loras.delete(name);
                opened.lora = null;
            }
        }
    }

    /** Ask what the tag means, and show it, unless the tag has changed meanwhile. */
    async function explain(opened) {
        const text = opened.text;
        let told = null;
        try {
            told = await ask("/explain", { tag: text, seed: 0 });
            opened.trouble = "";
        } catch (error) {
            opened.trouble = toldOf(error);
        }
        if (session !== opened || opened.text !== text) return;
        opened.problems = told ? told.problems : [];
        if (told && told.blocks) {
            const own = opened.lora && lbwTag.entriesOf(opened.tag.weights, opened.lora);
            opened.entries = own || Object.fromEntries(
                Object.entries(told.blocks).map(([block, weight]) => [block, lbwTag.formatNumber(weight)])
            );
        }
        show(opened);
    }

    function explainSoon(opened) {
        clearTimeout(opened.timer);
        opened.timer = setTimeout(() => session === opened && explain(opened), 150);
    }

    // Writing into the prompt -------------------------------------------------------------------

    // What our own writing sets off is not for others: completion extensions would take it for typing.
    for (const type of ["beforeinput", "input", "focus", "blur", "focusin", "focusout"]) {
        window.addEventListener(type, (event) => writing && event.stopImmediatePropagation(), true);
    }

    function activeElement() {
        const active = document.activeElement;
        return active && active.shadowRoot ? active.shadowRoot.activeElement : active;
    }

    /** Run `change`, with the focus in `textarea`, and tell the page once that its text is another. */
    function inside(textarea, change, withFocus = true) {
        const active = activeElement();
        const goThere = withFocus && active !== textarea;
        const top = textarea.scrollTop;
        writing = true;
        try {
            if (goThere) textarea.focus({ preventScroll: true });
            change();
            textarea.scrollTop = top;
            if (goThere && active && active.isConnected) active.focus({ preventScroll: true });
        } finally {
            writing = false;
        }
        textarea.dispatchEvent(new Event("input", { bubbles: true }));
    }

    /**
     * Write `text` in the place of the session's tag, so that the browser's own undo takes it back.
     *
     * All that is written in one gesture, a slider drawn from here to there, is one step of that undo.
     */
    function write(opened, text) {
        if (text === null || text === opened.text) return;
        const { textarea } = opened;
        const onPhone = window.matchMedia("(pointer: coarse)").matches; // the keyboard would come and go
        const put = () => {
            const isMore = lastWrite && lastWrite.gesture === gesture && textarea.value === lastWrite.after;
            if (isMore) document.execCommand("undo");
            const isBack = isMore && textarea.value === lastWrite.before;
            if (isMore && !isBack) document.execCommand("redo");
            const before = textarea.value;
            const end = isBack ? lastWrite.end : opened.end;
            textarea.setSelectionRange(opened.start, end);
            if (!document.execCommand("insertText", false, text)) return false;
            lastWrite = { gesture, before, after: textarea.value, end };
            return true;
        };
        const change = () => {
            if (onPhone || !put()) textarea.setRangeText(text, opened.start, opened.end, "end");
            const caret = opened.start + Math.min(Math.max(1, opened.caret - opened.start), text.length - 1);
            textarea.setSelectionRange(caret, caret);
        };
        inside(textarea, change, !onPhone);
        take(opened, lbwTag.findTag(textarea.value, opened.start + 1));
    }

    /** Take back, or do again, the last change of the prompt, from within the panel. */
    function undo(opened, command) {
        inside(opened.textarea, () => document.execCommand(command));
        lastWrite = null;
        refresh(opened, opened.start + 1);
    }

    // Opening, following, closing ---------------------------------------------------------------

    function isPrompt(element) {
        return element instanceof HTMLTextAreaElement && !element.readOnly && !element.disabled &&
            element.closest('[id*="prompt"], .prompt, .lbw-prompt') !== null;
    }

    function isCompleting() {
        return Array.from(document.querySelectorAll(".autocompleteResults")).some(
            (list) => list.getClientRects().length > 0 && getComputedStyle(list).visibility !== "hidden"
        );
    }

    /** Open at the tag that the caret of `textarea` stands in, or follow it there, or close. */
    function follow(textarea, asked = false) {
        const found = lbwTag.findTag(textarea.value, textarea.selectionStart, textarea.selectionEnd);
        if (!found || (isCompleting() && !asked)) {
            if (!found) dismissed = null;
            if (session && session.textarea === textarea) close();
            return;
        }
        if (session && session.textarea === textarea && session.start === found.start) {
            session.caret = textarea.selectionStart;
            if (session.text !== found.text) refresh(session, textarea.selectionStart);
            return;
        }
        const isDismissed = dismissed && dismissed.textarea === textarea && dismissed.start === found.start;
        if (!asked && (isDismissed || (window.opts && window.opts.lbw_panel === false))) return;
        open(textarea, found);
    }

    function open(textarea, found) {
        close();
        dismissed = null;
        const opened = { textarea, trouble: "", problems: [], entries: null, lora: null, caret: textarea.selectionStart };
        opened.start = found.start;
        session = opened;
        take(opened, found, false);
        build(opened);
        renew(opened);
        window.addEventListener("scroll", moveSoon, true);
        window.addEventListener("resize", moveSoon);
        window.visualViewport?.addEventListener("resize", moveSoon);
    }

    /** Load what the server knows of the LoRA, then what the tag means. */
    async function renew(opened) {
        const name = opened.tag.name;
        await loadLora(opened);
        if (session !== opened || opened.tag.name !== name) return;
        opened.entries = opened.lora && lbwTag.entriesOf(opened.tag.weights, opened.lora);
        buildBlocks(opened);
        buildPresets(opened);
        show(opened);
        if (opened.lora) explain(opened);
    }

    /** Take what the tag `found` says into the session. */
    function take(opened, found, thenShow = true) {
        const tag = found && lbwTag.readTag(found.text);
        if (!tag) return close();
        const isOther = opened.tag && opened.tag.name !== tag.name;
        Object.assign(opened, { start: found.start, end: found.end, text: found.text, tag });
        const own = opened.lora && lbwTag.entriesOf(tag.weights, opened.lora);
        if (own) opened.entries = own;
        if (!thenShow) return;
        show(opened);
        if (isOther) renew(opened);
        else if (opened.lora) explainSoon(opened);
    }

    /** Read the tag at `caret` again: the prompt was changed by somebody else. */
    function refresh(opened, caret) {
        take(opened, lbwTag.findTag(opened.textarea.value, caret));
    }

    function close(giveFocusBack = false) {
        if (!session) return;
        const { panel, textarea, caret, timer } = session;
        clearTimeout(timer);
        session = null;
        panel.remove();
        window.removeEventListener("scroll", moveSoon, true);
        window.removeEventListener("resize", moveSoon);
        window.visualViewport?.removeEventListener("resize", moveSoon);
        if (giveFocusBack) {
            textarea.focus({ preventScroll: true });
            textarea.setSelectionRange(caret, caret);
        }
    }

    function dismiss() {
        const { textarea, start, panel } = session;
        dismissed = { textarea, start };
        close(panel.contains(activeElement()));
    }

    // Where it stands ---------------------------------------------------------------------------

    const MIRRORED = [
        "boxSizing", "width", "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth", "paddingTop",
        "paddingRight", "paddingBottom", "paddingLeft", "fontFamily", "fontSize", "fontStyle", "fontWeight", "fontStretch",
        "lineHeight", "letterSpacing", "wordSpacing", "textIndent", "textTransform", "tabSize", "direction",
    ];

    /** Return the rectangle of the window that the text from `start` to `end` of `textarea` takes, as far as it shows. */
    function rectangle(textarea, start, end) {
        const style = getComputedStyle(textarea);
        const mirror = make("div");
        for (const name of MIRRORED) mirror.style[name] = style[name];
        Object.assign(mirror.style, {
            position: "absolute", visibility: "hidden", left: "0", top: "0", whiteSpace: "pre-wrap",
            overflowWrap: "break-word", borderStyle: "solid", overflow: "hidden",
            width: `${textarea.clientWidth + parseFloat(style.borderLeftWidth) + parseFloat(style.borderRightWidth)}px`,
            boxSizing: "border-box",
        });
        const span = make("span", { textContent: textarea.value.slice(start, end) });
        mirror.append(textarea.value.slice(0, start), span, textarea.value.slice(end) || " ");
        document.body.append(mirror);
        const from = mirror.getBoundingClientRect();
        const text = span.getBoundingClientRect();
        mirror.remove();
        const box = textarea.getBoundingClientRect();
        const clip = (value) => Math.max(box.top, Math.min(box.bottom, value));
        return {
            left: box.left + text.left - from.left,
            right: box.left + text.right - from.left,
            top: clip(box.top + text.top - from.top - textarea.scrollTop),
            bottom: clip(box.top + text.bottom - from.top - textarea.scrollTop),
        };
    }

    function move() {
        if (!session) return;
        const { panel, textarea, start, end } = session;
        if (!textarea.isConnected || !textarea.getClientRects().length) return close();
        const screen = window.visualViewport;
        const left = screen ? screen.offsetLeft : 0;
        const top = screen ? screen.offsetTop : 0;
        const view = {
            left, top,
            right: left + (screen ? screen.width : window.innerWidth),
            bottom: top + (screen ? screen.height : window.innerHeight),
        };
        const tag = rectangle(textarea, start, end);
        if (tag.bottom < view.top || tag.top > view.bottom) return void (panel.style.visibility = "hidden");
        const kept = panel.scrollTop;
        panel.style.maxHeight = "none";
        const at = lbwTag.place(tag, { width: panel.offsetWidth, height: panel.offsetHeight }, view);
        Object.assign(panel.style, {
            left: `${at.left}px`, top: `${at.top}px`, maxHeight: `${at.height}px`, visibility: "visible",
        });
        panel.scrollTop = kept;
    }

    let waiting = 0;
    function moveSoon(event) {
        if (session && event && session.panel.contains(event.target)) return;
        cancelAnimationFrame(waiting);
        waiting = requestAnimationFrame(move);
    }

    // The panel itself --------------------------------------------------------------------------

    function field(label, title, control, ...more) {
        control.setAttribute("aria-label", word(label));
        return make("label", { class: "lbw-field", title: word(title) }, make("span", { textContent: word(label) }),
            control, ...more);
    }

    /** Return a slider; `set` gets each of its values as text, rounded to nothing that was not chosen. */
    function slider(low, high, set) {
        const range = make("input", { type: "range", min: low, max: high, step: STEP, class: "lbw-range" });
        const choose = (value) => {
            const text = lbwTag.formatNumber(value);
            aim(range, text);
            set(text);
        };
        const now = () => Number(range.dataset.value || 0);
        const keys = {
            ArrowUp: (step) => now() + step, ArrowRight: (step) => now() + step,
            ArrowDown: (step) => now() - step, ArrowLeft: (step) => now() - step,
            PageUp: () => now() + 5 * STEP, PageDown: () => now() - 5 * STEP,
            Home: () => 0, End: () => 1, 0: () => 0, 1: () => 1,
        };
        range.addEventListener("pointerdown", () => gesture++);
        range.addEventListener("input", () => choose(Number(range.value)));
        range.addEventListener("keydown", (event) => {
            if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
            event.preventDefault();
            event.stopPropagation();
            if (!event.repeat) gesture++;
            choose(keys[event.key](event.shiftKey ? STEP / 5 : STEP));
        });
        return range;
    }

    /** Show `text` on a slider, making its span wider where the number lies outside of it. */
    function aim(range, text) {
        const value = Number(text);
        range.dataset.value = text;
        if (value < Number(range.min)) range.min = Math.floor(value / STEP) * STEP;
        if (value > Number(range.max)) range.max = Math.ceil(value / STEP) * STEP;
        if (Number(range.value) !== value) range.value = value;
        const at = (number) => (100 * (number - range.min)) / (range.max - range.min);
        range.style.setProperty("--lbw-from", `${at(Math.min(0, value))}%`);
        range.style.setProperty("--lbw-to", `${at(Math.max(0, value))}%`);
    }

    function box(set, properties) {
        const input = make("input", { type: "text", autocomplete: "off", spellcheck: false, ...properties });
        const commit = () => {
            if (writing) return;
            gesture++;
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

    function button(text, title, act) {
        const made = make("button", { type: "button", textContent: word(text), title: word(title) });
        made.addEventListener("click", () => {
            gesture++;
            act();
        });
        return made;
    }

    /** Return `text` without what would end an item or the tag. */
    function harmless(text) {
        return text.replace(/[<>:\r\n]/g, "");
    }

    function build(opened) {
        const parts = {};
        opened.parts = parts;
        const strength = (te, unet) => write(opened, lbwTag.withStrength(opened.text, te, unet));
        const setTe = (text) => lbwTag.isNumber(text) && strength(text, parts.same.checked ? null : opened.tag.unet);
        const setUnet = (text) => lbwTag.isNumber(text) && strength(opened.tag.te, text);
        parts.te = slider(0, 1.5, (text) => setTe(text));
        parts.teText = box((text) => (lbwTag.isNumber(text) ? setTe(text) : show(opened)), { class: "lbw-number" });
        parts.unet = slider(0, 1.5, (text) => setUnet(text));
        parts.unetText = box((text) => (lbwTag.isNumber(text) ? setUnet(text) : show(opened)), { class: "lbw-number" });
        parts.unetText.setAttribute("aria-label", word("U-Net strength"));
        parts.teText.setAttribute("aria-label", word("Strength"));
        parts.same = make("input", { type: "checkbox" });
        parts.same.addEventListener("change", () => {
            gesture++;
            opened.apart = !parts.same.checked;
            if (parts.same.checked) strength(opened.tag.te, null);
            show(opened);
        });
        parts.teField = field("Strength", "How strongly the LoRA works", parts.te, parts.teText);
        parts.unetField = field("U-Net", "How strongly it works on the picture's model", parts.unet, parts.unetText);
        parts.preset = make("select");
        parts.preset.addEventListener("change", () => {
            gesture++;
            const chosen = parts.preset.selectedOptions[0];
            write(opened, lbwTag.withWeights(opened.text, chosen.dataset.preset ?? null));
        });
        parts.weights = box((text) => write(opened, lbwTag.withWeights(opened.text, harmless(text) || null)), {
            placeholder: "0,OUT00=1", class: "lbw-weights",
        });
        const step = (key) => (text) => write(opened, lbwTag.withStep(opened.text, key, harmless(text) || null));
        parts.start = box(step("start"), { class: "lbw-number", placeholder: "1" });
        parts.stop = box(step("stop"), { class: "lbw-number", placeholder: "–" });
        parts.blocks = make("div", { class: "lbw-blocks", role: "group", "aria-label": word("Block weights") });
        parts.title = make("strong", { class: "lbw-name" });
        parts.model = make("span", { class: "lbw-model" });
        parts.status = make("div", { class: "lbw-status", role: "status", "aria-live": "polite" });
        const weigh = (text) => write(opened, lbwTag.withWeights(opened.text, text));
        const panel = make(
            "div",
            { class: "lbw-panel", role: "dialog", "aria-label": word("LoRA Block Weight"), "data-lbw": "panel" },
            make("div", { class: "lbw-head" }, parts.title, parts.model,
                make("button", { type: "button", class: "lbw-close", title: word("Close (Esc)"), textContent: "×",
                    onclick: dismiss, ariaLabel: word("Close (Esc)") })),
            parts.status,
            parts.teField, parts.unetField,
            make("label", { class: "lbw-check", title: word("One strength for both, as the tag's first number") },
                parts.same, make("span", { textContent: word("Same strength for text encoder and U-Net") })),
            field("Preset", "The presets that fit this LoRA", parts.preset),
            field("Weights", "The block weights as the tag has them: a preset, numbers, or 0,OUT00=1", parts.weights),
            make("div", { class: "lbw-steps" },
                field("From step", "No effect before this step; 30% is a share of the steps", parts.start),
                field("Until step", "No effect from this step on; 30% is a share of the steps", parts.stop)),
            parts.blocks,
            make("div", { class: "lbw-buttons" },
                button("All 0", "Every block 0", () => weigh("0")),
                button("All 1", "Every block 1", () => weigh("1")),
                button("Remove", "The LoRA applies uniformly", () => weigh(null)),
                make("span", { class: "lbw-hint", textContent: word(WORDS.hint) })),
        );
        panel.addEventListener("keydown", onPanelKey);
        opened.panel = panel;
        document.body.append(panel);
        if (opened.lora) buildBlocks(opened);
        buildPresets(opened);
        show(opened);
    }

    function onPanelKey(event) {
        const ctrl = (event.ctrlKey || event.metaKey) && !event.altKey;
        const key = event.key.toLowerCase();
        if (!ctrl || !session || (event.target.type === "text" && event.target.value !== event.target.dataset.shown)) return;
        if (key !== "z" && key !== "y") return;
        event.preventDefault();
        undo(session, key === "y" || event.shiftKey ? "redo" : "undo");
    }

    function buildPresets(opened) {
        const { parts, lora } = opened;
        const list = make("select");
        const names = lora ? lora.presets : [];
        list.append(make("option", { textContent: word("none") }));
        for (const name of names) {
            const usable = harmless(name) === name;
            const option = make("option", { textContent: usable ? name : `${name} (${word(WORDS.unusable)})` });
            option.disabled = !usable;
            option.dataset.preset = name;
            list.append(option);
        }
        parts.own = make("option", { textContent: word("as written below"), disabled: true });
        list.append(parts.own);
        parts.preset.replaceChildren(...list.childNodes);
        parts.places = new Map(names.map((name, place) => [name, place + 1]));
    }

    function buildBlocks(opened) {
        const { parts, lora } = opened;
        parts.controls = new Map();
        parts.blocks.replaceChildren();
        if (!lora || !lora.blocks) return;
        const touched = new Set(lora.touched);
        const column = (blocks, name) => make("div", { class: name }, ...blocks.map((block) => {
            const range = slider(-0.5, 1.5, (text) => setBlock(opened, block, text));
            const value = make("output", { class: "lbw-value" });
            const row = make("label", { class: "lbw-block" }, make("span", { class: "lbw-id", textContent: block }), range, value);
            row.dataset.block = block;
            row.title = block + (touched.has(block) ? "" : `: ${word(WORDS.untouched)}`);
            row.classList.toggle("lbw-untouched", !touched.has(block));
            range.setAttribute("aria-label", row.title);
            parts.controls.set(block, { row, range, value });
            return row;
        }));
        const columns = Math.min(3, Math.max(...lora.shape.map((part) => part.length)));
        parts.blocks.append(...lora.shape.map((part) =>
            make("div", { class: "lbw-part" }, ...part.map((blocks) => column(blocks, "lbw-column")))));
        parts.blocks.style.setProperty("--lbw-columns", String(columns));
        opened.panel.classList.toggle("lbw-wide", columns > 2);
    }

    function setBlock(opened, block, text) {
        const weights = lbwTag.withBlock(opened.tag.weights, block, text, opened.lora, opened.entries);
        if (weights === null) {
            opened.problems = [word(WORDS.stuck)];
            return show(opened);
        }
        if (opened.entries) opened.entries = { ...opened.entries, [block]: text };
        write(opened, lbwTag.withWeights(opened.text, weights));
    }

    function put(input, text) {
        if (input.value !== text && (document.activeElement !== input || input.dataset.shown === input.value)) {
            input.value = text;
        }
        input.dataset.shown = text;
    }

    /** Bring everything in the panel to what the tag says. */
    function show(opened) {
        if (session !== opened || !opened.parts) return;
        const { parts, tag, lora, entries } = opened;
        parts.title.textContent = tag.name;
        parts.title.title = tag.name;
        parts.model.textContent = lora ? lora.title : "";
        const same = tag.te === tag.unet && !opened.apart;
        parts.same.checked = same;
        parts.unetField.hidden = same;
        parts.teField.firstChild.textContent = word(same ? "Strength" : "Text encoder");
        for (const [name, text] of [["te", tag.te], ["unet", tag.unet]]) {
            const plain = lbwTag.isNumber(text);
            parts[name].disabled = !plain;
            put(parts[`${name}Text`], text);
            if (plain) aim(parts[name], text);
        }
        put(parts.weights, tag.weights ?? "");
        const place = tag.weights === null ? 0 : parts.places.get(tag.weights) ?? parts.preset.options.length - 1;
        if (parts.preset.selectedIndex !== place) parts.preset.selectedIndex = place;
        put(parts.start, tag.start ?? "");
        put(parts.stop, tag.stop ?? "");
        for (const [block, control] of parts.controls ?? []) showBlock(control, entries ? entries[block] ?? "0" : null);
        const problems = [opened.trouble, ...opened.problems].filter(Boolean).map(word);
        const said = problems.join("\n");
        if (parts.status.textContent !== said) parts.status.textContent = said;
        parts.status.hidden = !said;
        move();
    }

    function showBlock(control, entry) {
        if (control.entry === entry) return;
        control.entry = entry;
        const state = entry === null ? "other" : lbwTag.stateOf(entry);
        control.row.dataset.state = state;
        control.value.textContent = entry === null ? "…" : `${SIGNS[state]} ${entry.replace(/^-/, "")}`;
        control.range.disabled = entry === null;
        control.range.setAttribute("aria-valuetext", entry === null ? "" : `${entry}, ${word(STATES[state])}`);
        aim(control.range, state === "other" ? "0" : entry);
    }

    // What the person does ----------------------------------------------------------------------

    document.addEventListener("click", (event) => {
        if (!event.isTrusted) return; // the hosts' token counters click a button of theirs, by script, after each change
        const target = event.composedPath()[0];
        if (session && session.panel.contains(target)) return;
        if (isPrompt(target)) return follow(target);
        if (session && target.isConnected) close();
    });

    const CARET_KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);
    document.addEventListener("keyup", (event) => {
        const target = event.composedPath()[0];
        if (CARET_KEYS.has(event.key) && isPrompt(target)) follow(target);
    });

    document.addEventListener("input", (event) => {
        const target = event.composedPath()[0];
        if (!session || target !== session.textarea || !event.isTrusted) return;
        lastWrite = null;
        follow(target);
        const opened = session;
        setTimeout(() => opened && session === opened && isCompleting() && close(), 250);
    });

    document.addEventListener("focusin", (event) => {
        const target = event.composedPath()[0];
        if (session && target !== session.textarea && !session.panel.contains(target)) close();
    });

    document.addEventListener("keydown", (event) => {
        const target = event.composedPath()[0];
        if (event.code === "KeyL" && event.altKey && !event.ctrlKey && !event.metaKey && isPrompt(target)) {
            if (event.getModifierState("AltGraph")) return;
            follow(target, true);
            if (!session) return;
            event.preventDefault();
            event.stopPropagation();
            session.panel.querySelector("input:not(:disabled)").focus({ preventScroll: true });
        }
        if (event.key === "Escape" && session && !event.isComposing && !isCompleting()) {
            if (target !== session.textarea && !session.panel.contains(target)) return;
            event.preventDefault();
            event.stopPropagation();
            dismiss();
        }
    }, true);
})();
