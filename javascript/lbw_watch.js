"use strict";

/**
 * Warns if the server stops responding while something is running, and before leaving the page with unsaved presets.
 */
(() => {
    const EVERY = 3000; // milliseconds between two checks of the server while something is running
    const WAIT = 8000; // milliseconds without an answer that count as a failure
    const WORDS = {
        gone: "The server is not responding. Finished pictures are kept: when it is running again, press the button again.",
    };

    async function answers() {
        try {
            await fetch(location.href, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(WAIT) });
            return true; // any answer shows that it is there
        } catch {
            return false;
        }
    }

    async function look() {
        const running = [...lbwPage.root().querySelectorAll(".lbw-running")];
        if (running.length && !(await answers())) {
            for (const bar of running) {
                bar.classList.remove("lbw-running");
                const textContent = `✗ ${lbwPage.word(WORDS.gone)}`;
                bar.after(lbwPage.make("div", { class: "lbw-message lbw-bad", role: "alert", textContent }));
            }
        }
        setTimeout(look, EVERY);
    }

    setTimeout(look, EVERY);

    window.addEventListener("beforeunload", (event) => {
        if (lbwPage.root().querySelector(".lbw-unsaved")) event.preventDefault();
    });
})();
