"use strict";

/**
 * Messages of the server, in the page's language.
 *
 * The server sends whole sentences in English, names and numbers filled in. Translations are keyed by the sentences
 * with placeholders (lbw/core/texts.py): `LoRA {name} was not found`. A message is matched against those, and what its
 * placeholders stand for, which may be messages too, goes into the translation.
 */
const lbwMessages = (() => {
    const SHOWN = ".lbw-text, .lbw-table td, .comments";
    const TITLE = "LoRA Block Weight: "; // before messages under a picture
    const DEPTH = 5; // messages within messages

    /** @type {Record<string, string> | undefined} */
    let language;
    /** @type {{ pattern: RegExp, names: string[], own: number, text: string }[]} */
    let templates = [];

    /**
     * Return the texts with placeholders as patterns, those with the most text of their own first.
     *
     * @param {Record<string, string>} words
     */
    function compiled(words) {
        const said = (/** @type {string} */ key) => key.replace(/\{\w+\}/g, "");
        const keys = Object.keys(words).filter((key) => said(key) !== key);
        return keys.sort((one, other) => said(other).length - said(one).length).map((key) => ({
            pattern: new RegExp(`^${escaped(key).replace(/\\\{(\w+)\\\}/g, (_, name) => value(name))}$`, "s"),
            names: [...key.matchAll(/\{(\w+)\}/g)].map((match) => match[1]),
            own: letters(said(key)),
            text: words[key],
        }));
    }

    /**
     * Return what may stand in the place of `name`: a number for a count and its limit; the whole label of a field,
     * which may be words, without what was written in that field.
     *
     * @param {string} name
     */
    function value(name) {
        if (name === "count" || name === "most") return "([\\d.,]+)";
        return name === "field" ? '([^"]+)' : "(.+?)";
    }

    /** @param {string} text */
    function letters(text) {
        return text.replace(/\P{L}/gu, "").length;
    }

    /** @param {string} text */
    function escaped(text) {
        return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    }

    /**
     * Return `message` in the page's language, or unchanged if there is no translation.
     *
     * @param {string} message
     * @returns {string}
     */
    function translated(message) {
        const words = window.localization;
        if (!words) return message;
        if (words !== language) [language, templates] = [words, compiled(words)];
        return read(words, message, DEPTH).text;
    }

    /**
     * Return `message` in the language, and how many of its letters the language has words for: a message that several
     * texts fit is read as the one that, with the messages within it, knows most; what stands in a message's place is
     * rather one than what stands in the place of a name.
     *
     * @param {Record<string, string>} words
     * @param {string} message
     * @param {number} depth
     * @returns {{ text: string, known: number }}
     */
    function read(words, message, depth) {
        let best = { text: message, known: 0 };
        if (Object.hasOwn(words, message)) return { text: words[message], known: letters(message) };
        if (!depth) return best;
        for (const { pattern, names, own, text } of templates) {
            const values = pattern.exec(message)?.slice(1).map((value) => read(words, value, depth - 1)) ?? [];
            const known = values.reduce(
                (sum, value, i) => sum + (names[i] === "message" ? value.known : Math.max(0, value.known - 1)), own,
            );
            if (values.length && known > best.known) {
                best = { text: text.replace(/\{(\w+)\}/g, (_, name) => values[names.indexOf(name)].text), known };
            }
        }
        return best;
    }

    /** @param {Text} node */
    function translateText(node) {
        const text = node.data.trim();
        const head = text.startsWith(TITLE) ? TITLE : "";
        const message = translated(text.slice(head.length));
        if (text && head + message !== text) node.data = head + message;
    }

    /** @param {Element | ShadowRoot | Document} root */
    function translateIn(root) {
        for (const element of root.querySelectorAll(SHOWN)) {
            for (const node of element.childNodes) if (node instanceof Text) translateText(node);
        }
    }

    /** Watches for additions to the page, shadow roots included. */
    const observer = new MutationObserver((changes) => {
        if (!window.localization || !Object.keys(window.localization).length) return;
        for (const { target } of changes) {
            const element = target instanceof Element ? target : target.parentElement;
            if (element?.parentElement) translateIn(element.parentElement);
        }
    });

    function install() {
        const root = window.gradioApp?.() ?? document;
        observer.observe(root, { childList: true, characterData: true, subtree: true });
        translateIn(root);
    }

    if (typeof window.onUiLoaded === "function") window.onUiLoaded(install);
    else install();

    return { translated };
})();
