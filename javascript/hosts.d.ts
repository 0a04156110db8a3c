/** What the WebUIs put into their pages, and studio/words.js into ours: each may be missing. */
interface Window {
    /** Returns what holds the page. */
    gradioApp?: () => Document | HTMLElement | ShadowRoot;
    /** Calls back when the page's components are there. */
    onUiLoaded?: (callback: () => void) => void;
    /** The WebUI's settings. */
    opts?: Record<string, unknown>;
    /** The page's language: texts by the English ones. */
    localization?: Record<string, string>;
    /** Takes what a LoRA's card wrote out of a prompt again, and tells whether it was there. */
    tryToRemoveExtraNetworkFromPrompt?: RemoveFromPrompt;
}

type RemoveFromPrompt = (textarea: HTMLTextAreaElement, text: string, isNegative?: boolean) => boolean;
