"use strict";

/**
 * Shared by all scripts: words in the page's language, elements, text boxes, the targets of events.
 *
 * A WebUI loads every script of this folder, in any order: each covers one section of the page, defines at most one
 * global constant, such as `lbwPage` here, and uses those of the others only in response to events.
 */
const lbwPage = (() => {
    /**
     * Return `text` in the page's language.
     *
     * @param {string} text
     */
    function word(text) {
        return window.localization?.[text] || text;
    }

    /** Return the root of the page: in some WebUIs it is a shadow root, apart from the document. */
    function root() {
        return window.gradioApp?.() ?? document;
    }

    /**
     * Return a new element. Names of properties with a hyphen, `for` and `list` are attributes.
     *
     * @template {keyof HTMLElementTagNameMap} Name
     * @param {Name} name
     * @param {Record<string, unknown>} [properties]
     * @param {...(Node | string)} children
     */
    function make(name, properties = {}, ...children) {
        const element = document.createElement(name);
        for (const [key, value] of Object.entries(properties)) {
            if (key === "class") element.className = String(value);
            else if (key.includes("-")) element.setAttribute(key, String(value));
            else Object.assign(element, { [key]: value });
        }
        element.append(...children);
        return element;
    }

    /**
     * Return the element where `event` happened, even inside a shadow root.
     *
     * @param {Event} event
     */
    function target(event) {
        return /** @type {HTMLElement} */ (event.composedPath()[0]);
    }

    /**
     * Return the innermost element that matches `selector` and contains the target of `event`, null if there is none.
     *
     * @param {Event} event
     * @param {string} selector
     * @returns {HTMLElement | null}
     */
    function closest(event, selector) {
        const element = target(event);
        return element instanceof Element ? element.closest(selector) : null;
    }

    /** Return the element that has the focus. */
    function focused() {
        const active = document.activeElement;
        const inner = active?.shadowRoot ? active.shadowRoot.activeElement : active;
        return inner instanceof HTMLElement ? inner : null;
    }

    /**
     * Return the text box within the element `id`, null if there is none.
     *
     * @param {string | undefined} id
     * @returns {HTMLTextAreaElement | HTMLInputElement | null}
     */
    function box(id) {
        return id ? root().querySelector(`#${id} :is(textarea, input)`) : null;
    }

    /**
     * Write `text` into a text box, as if it had been typed.
     *
     * @param {HTMLTextAreaElement | HTMLInputElement | null} box
     * @param {string} text
     */
    function enter(box, text) {
        if (!box) return;
        box.value = text;
        box.dispatchEvent(new Event("input", { bubbles: true }));
    }

    return { word, root, make, target, closest, focused, box, enter };
})();
