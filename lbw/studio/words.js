"use strict";

/**
 * The page in another language: what there is a word for is replaced wherever it appears.
 *
 * The words stand in the element `lbw-words`, as JSON. As in the WebUIs, which have a translator of their own,
 * `window.localization` holds them for the other scripts, and whole texts are looked up: of a text node, a title, a
 * placeholder.
 */
(() => {
    const ATTRIBUTES = ["title", "placeholder"];
    const NO_LANGUAGE = "script, style, textarea, code";

    const said = JSON.parse(document.getElementById("lbw-words")?.textContent || "{}");
    /** @type {Record<string, string>} */
    const words = said.words;
    window.localization = words;
    document.documentElement.lang = said.language;

    /** @param {string} text */
    function translated(text) {
        const key = text.trim();
        return Object.hasOwn(words, key) ? text.replace(key, () => words[key]) : text;
    }

    /** @param {Text} node */
    function translateText(node) {
        const text = translated(node.data);
        if (text !== node.data && !node.parentElement?.closest(NO_LANGUAGE)) node.data = text;
    }

    /** @param {Element} element */
    function translateAttributes(element) {
        for (const name of ATTRIBUTES) {
            const text = element.getAttribute(name);
            if (text && translated(text) !== text) element.setAttribute(name, translated(text));
        }
    }

    /** @param {Node} root */
    function translate(root) {
        if (root instanceof Text) translateText(root);
        if (!(root instanceof Element)) return;
        translateAttributes(root);
        root.querySelectorAll("[title], [placeholder]").forEach(translateAttributes);
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) translateText(/** @type {Text} */ (texts.currentNode));
    }

    const observer = new MutationObserver((changes) => {
        for (const { type, target, addedNodes } of changes) {
            if (type === "childList") addedNodes.forEach(translate);
            else if (target instanceof Text) translateText(target);
            else if (target instanceof Element) translateAttributes(target);
        }
    });
    observer.observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES,
    });
    translate(document.documentElement);
})();
