"use strict";

/**
 * What a page must notice by itself: that its server is gone while something runs, and that it is being left with
 * presets that are not saved.
 */
(function () {
    const EVERY = 3000; // milliseconds between two looks at the server, while something runs
    const WAIT = 8000; // milliseconds after which no answer is one too
    const WORDS = {
        gone: "The server does not answer. What was finished is kept: when it runs again, press the button again.",
    };

    /** Return `text` in the page's language. */
    function word(text) {
        return (window.localization && window.localization[text]) || text;
    }

    async function answers() {
        try {
            await fetch(location.href, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(WAIT) });
            return true; // whatever it says: it is there
        } catch {
            return false;
        }
    }

    async function look() {
        const root = typeof gradioApp === "function" ? gradioApp() : document;
        const running = [...root.querySelectorAll(".lbw-running")];
        if (running.length && !(await answers())) {
            for (const bar of running) {
                bar.classList.remove("lbw-running");
                const note = document.createElement("div");
                note.className = "lbw-message lbw-bad";
                note.setAttribute("role", "alert");
                note.textContent = `✗ ${word(WORDS.gone)}`;
                bar.after(note);
            }
        }
        setTimeout(look, EVERY);
    }

    look();

    window.addEventListener("beforeunload", (event) => {
        const root = typeof gradioApp === "function" ? gradioApp() : document;
        if (root.querySelector(".lbw-unsaved")) event.preventDefault();
    });
})();
