"use strict";

/**
 * The page in another language: what `window.localization` has a word for is replaced wherever it appears.
 *
 * As in the WebUIs, whole texts are looked up: of a text node, a title, a placeholder. This stands beside no WebUI,
 * which has its own.
 */
(function () {
    const words = window.localization;
    const ATTRIBUTES = ["title", "placeholder"];
    const NO_LANGUAGE = "script, style, textarea, code";

    function translated(text) {
        const key = text.trim();
        return Object.hasOwn(words, key) ? text.replace(key, () => words[key]) : text;
    }

    function translateText(node) {
        const text = translated(node.data);
        if (text !== node.data && !node.parentElement?.closest(NO_LANGUAGE)) node.data = text;
    }

    function translateAttributes(element) {
        for (const name of ATTRIBUTES) {
            const text = element.getAttribute(name);
            if (text && translated(text) !== text) element.setAttribute(name, translated(text));
        }
    }

    function translate(root) {
        if (root.nodeType === Node.TEXT_NODE) return translateText(root);
        if (root.nodeType !== Node.ELEMENT_NODE) return;
        translateAttributes(root);
        root.querySelectorAll("[title], [placeholder]").forEach(translateAttributes);
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) translateText(texts.currentNode);
    }

    const observer = new MutationObserver((changes) => {
        for (const change of changes) {
            if (change.type === "attributes") translateAttributes(change.target);
            else if (change.type === "characterData") translateText(change.target);
            else change.addedNodes.forEach(translate);
        }
    });
    observer.observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES,
    });
    translate(document.documentElement);
})();
