"use strict";

/**
 * What a page must notice by itself: that its server is gone while something runs, and that it is being left with
 * presets that are not saved.
 */
(() => {
    const EVERY = 3000; // milliseconds between two looks at the server, while something runs
    const WAIT = 8000; // milliseconds after which no answer is one too
    const WORDS = {
        gone: "The server is not responding. Finished pictures are kept: when it is running again, press the button again.",
    };

    async function answers() {
        try {
            await fetch(location.href, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(WAIT) });
            return true; // whatever it says: it is there
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
