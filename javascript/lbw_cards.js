"use strict";

/**
 * A second click on a LoRA's card removes its tag from the prompt, block weights included.
 *
 * The host's own pattern for tags matches only a name and one number.
 */
(() => {
    const CARD = /^<(lora|lyco):([^:>]+):[^>]*\blbw=[^>]*>([\s\S]*)$/;

    /**
     * Return a function that tries ours before the host's, for cards that write block weights.
     *
     * @param {RemoveFromPrompt} original
     * @returns {RemoveFromPrompt}
     */
    function withBlockWeights(original) {
        return (textarea, text, isNegative) => {
            const card = isNegative ? null : CARD.exec(text);
            if (!card) return original(textarea, text, isNegative);
            const [, kind, name, activation] = card;
            for (const match of textarea.value.matchAll(/<(lora|lyco):([^:>]+)[^>]*>/g)) {
                if (match[1] !== kind || match[2] !== name) continue;
                const separator = String(window.opts?.extra_networks_add_text_separator || " ");
                let before = textarea.value.slice(0, match.index);
                let after = textarea.value.slice(match.index + match[0].length);
                if (activation && after.startsWith(activation)) after = after.slice(activation.length);
                if (before.endsWith(separator)) before = before.slice(0, -separator.length);
                textarea.value = before + after;
                return true;
            }
            return false;
        };
    }

    window.onUiLoaded?.(() => {
        const original = window.tryToRemoveExtraNetworkFromPrompt;
        if (original) window.tryToRemoveExtraNetworkFromPrompt = withBlockWeights(original);
    });
})();
