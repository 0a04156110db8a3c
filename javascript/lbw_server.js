"use strict";

/**
 * The panel's requests to the server: what a LoRA contains, and what a tag means.
 *
 * @typedef {object} LbwExplained what a tag means; see `/docs`
 * @property {Record<string, number>} blocks
 * @property {string[]} problems
 */
const lbwServer = (() => {
    const API = "./lbw/v1";
    const FRESH = 10000; // milliseconds before a LoRA is asked about again
    const PATIENCE = 8000; // milliseconds before a request is abandoned
    const WORDS = {
        offline: "The server is not responding. You can still edit the strength, the steps and the text of the weights.",
        login: "The server requires a login for its API; open this address and log in:",
    };

    /** @type {Map<string, { lora: LbwLora, time: number }>} the last answer for each LoRA, by name. */
    const known = new Map();

    /** A failed request: `status` is the server's, 0 if there was no server. */
    class Refusal extends Error {
        /**
         * @param {string} message for the user
         * @param {number} status
         * @param {string[]} problems what else is wrong with the tag
         */
        constructor(message, status, problems) {
            super(message);
            this.status = status;
            this.problems = problems;
        }
    }

    /**
     * Return the server's answer.
     *
     * @param {string} path
     * @param {unknown} [body] sent as JSON; without one, the request is a GET
     * @returns {Promise<any>}
     * @throws {Refusal}
     */
    async function ask(path, body) {
        /** @type {Response} */
        let answer;
        try {
            answer = await fetch(API + path, {
                method: body === undefined ? "GET" : "POST",
                credentials: "same-origin",
                headers: { "Content-Type": "application/json", "X-Requested-With": "lbw" },
                body: body === undefined ? undefined : JSON.stringify(body),
                signal: AbortSignal.timeout(PATIENCE),
            });
        } catch {
            throw new Refusal(lbwPage.word(WORDS.offline), 0, []);
        }
        const content = await answer.json().catch(() => ({}));
        if (answer.ok) return content;
        const login = `${lbwPage.word(WORDS.login)} ${new URL(`${API}/presets`, location.href)}`;
        const detail = typeof content.detail === "string" ? content.detail : answer.statusText;
        throw new Refusal(answer.status === 401 ? login : detail, answer.status, content.problems ?? []);
    }

    /**
     * Return the last answer for the LoRA `name`, null if there is none.
     *
     * @param {string} name
     */
    function remembered(name) {
        return known.get(name)?.lora ?? null;
    }

    /**
     * Return what the server knows about the LoRA `name`: the same object as before while that is unchanged.
     *
     * @param {string} name
     * @returns {Promise<LbwLora>}
     * @throws {Refusal}
     */
    async function lora(name) {
        const before = known.get(name);
        if (before && Date.now() - before.time < FRESH) return before.lora;
        try {
            const answer = await ask(`/loras/${encodeURIComponent(name).replaceAll("%2F", "/")}`);
            const isSame = before && JSON.stringify(before.lora) === JSON.stringify(answer);
            const lora = isSame ? before.lora : answer;
            known.set(name, { lora, time: Date.now() });
            return lora;
        } catch (error) {
            if (error instanceof Refusal && error.status === 404) known.delete(name);
            throw error;
        }
    }

    /**
     * Return what a tag means, with the first of its random numbers if it has any.
     *
     * @param {string} tag
     * @returns {Promise<LbwExplained>}
     * @throws {Refusal}
     */
    function explain(tag) {
        return ask("/explain", { tag, seed: 0 });
    }

    return { Refusal, remembered, lora, explain };
})();
