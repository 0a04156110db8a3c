"use strict";

/**
 * `<lbw-mask data-box="ID"><img></lbw-mask>`: paint a mask on the picture with the mouse, a finger or a pen.
 *
 * The text box within the element ID gets the mask as the data URL of a PNG that is opaque where painted, or nothing.
 * Strokes are kept as lines, in fractions of the picture's size, so they stay when the same box gets another picture.
 *
 * @typedef {[number, number]} LbwPoint as fractions of the picture's width and height
 *
 * @typedef {object} LbwStroke
 * @property {boolean} erases
 * @property {number} size of the brush, as a fraction of the picture's longer side
 * @property {LbwPoint[]} points empty for a stroke that clears everything before it
 *
 * @typedef {{ strokes: LbwStroke[], size: number, erases: boolean }} LbwPainting with the current brush
 */
(() => {
    const LARGEST = 1024; // pixels of the mask's longer side
    const COLOR = "#ff2d78";
    const PEN_ERASER = 5; // the button that the eraser end of a pen reports
    const WORDS = {
        paint: "Paint",
        erase: "Erase",
        undo: "Undo",
        clear: "Clear",
        size: "Brush size",
        hint: "Paint the region to look at; leave it empty for the whole picture.",
    };

    /** @type {Map<string, LbwPainting>} by the id of their box */
    const paintings = new Map();

    /**
     * Return the painting for a box, a new one if it has none yet.
     *
     * @param {string} id
     */
    function paintingFor(id) {
        const painting = paintings.get(id) ?? { strokes: [], size: 0.08, erases: false };
        paintings.set(id, painting);
        return painting;
    }

    /** The bar under a picture: paint or erase, undo, clear, the size of the brush. */
    class Bar {
        /**
         * @param {LbwPainting} painting
         * @param {{ undo: () => void, clear: () => void }} actions
         */
        constructor(painting, { undo, clear }) {
            this.painting = painting;
            this.painter = this.tool(WORDS.paint, false);
            this.eraser = this.tool(WORDS.erase, true);
            this.undoer = Bar.button(WORDS.undo, undo);
            this.clearer = Bar.button(WORDS.clear, clear);
            const size = lbwPage.make("input", { type: "range", min: 0.01, max: 0.4, step: 0.01, value: painting.size });
            size.addEventListener("input", () => (painting.size = Number(size.value)));
            const label = lbwPage.make("label", {}, lbwPage.word(WORDS.size), size);
            const buttons = [this.painter, this.eraser, this.undoer, this.clearer];
            this.element = lbwPage.make("div", { class: "lbw-mask-bar" }, ...buttons, label);
        }

        /**
         * @param {string} text
         * @param {() => void} action
         */
        static button(text, action) {
            return lbwPage.make("button", { type: "button", textContent: lbwPage.word(text), onclick: action });
        }

        /**
         * @param {string} text
         * @param {boolean} erases
         */
        tool(text, erases) {
            return Bar.button(text, () => {
                this.painting.erases = erases;
                this.show();
            });
        }

        show() {
            const { strokes, erases } = this.painting;
            this.painter.setAttribute("aria-pressed", String(!erases));
            this.eraser.setAttribute("aria-pressed", String(erases));
            this.undoer.disabled = !strokes.length;
            this.clearer.disabled = !strokes.at(-1)?.points.length;
        }
    }

    /** The picture to paint on, and the mask over it. */
    class Stage {
        /**
         * @param {HTMLImageElement} picture
         * @param {LbwPainting} painting
         * @param {(address: string) => void} tell is called with the mask whenever it changes, empty for none
         */
        constructor(picture, painting, tell) {
            this.picture = picture;
            this.painting = painting;
            this.tell = tell;
            this.canvas = lbwPage.make("canvas");
            this.ring = lbwPage.make("span", { class: "lbw-mask-ring" });
            this.element = lbwPage.make("div", { class: "lbw-mask-stage" }, picture, this.canvas, this.ring);
            /** @type {CanvasRenderingContext2D | null} */
            this.pen = null;
            /** @type {LbwStroke | null} the stroke that is being drawn */
            this.stroke = null;
            picture.draggable = false;
            this.canvas.addEventListener("pointerdown", (event) => this.press(event));
            this.canvas.addEventListener("pointermove", (event) => this.move(event));
            this.canvas.addEventListener("pointerup", (event) => this.release(event));
            this.canvas.addEventListener("pointercancel", () => this.drop()); // a second finger zooms the page
            this.canvas.addEventListener("pointerleave", () => (this.ring.hidden = true));
            picture.decode().then(() => this.begin());
        }

        /** Take the size of the picture, now that it is known, and show what was painted before. */
        begin() {
            const { naturalWidth: width, naturalHeight: height } = this.picture;
            const scale = Math.min(1, LARGEST / Math.max(width, height));
            this.canvas.width = Math.max(1, Math.round(width * scale));
            this.canvas.height = Math.max(1, Math.round(height * scale));
            this.element.style.setProperty("--lbw-ratio", String(width / height));
            this.pen = this.canvas.getContext("2d");
            this.redraw();
        }

        /**
         * Return the position of `event`, as fractions of the picture's size.
         *
         * @param {PointerEvent} event
         * @returns {LbwPoint}
         */
        place(event) {
            const at = this.canvas.getBoundingClientRect();
            return [(event.clientX - at.left) / at.width, (event.clientY - at.top) / at.height];
        }

        /** @param {PointerEvent} event */
        press(event) {
            if (!this.pen || !event.isPrimary || (event.button !== 0 && event.button !== PEN_ERASER)) return;
            event.preventDefault();
            this.element.parentElement?.focus({ preventScroll: true }); // so that it receives Ctrl+Z
            this.canvas.setPointerCapture(event.pointerId);
            const erases = this.painting.erases || event.button === PEN_ERASER;
            this.stroke = { erases, size: this.painting.size, points: [this.place(event)] };
            this.draw(this.pen, this.stroke);
        }

        /** @param {PointerEvent} event */
        move(event) {
            if (!event.isPrimary) return;
            this.follow(event);
            if (!this.stroke || !this.pen) return;
            const events = event.getCoalescedEvents?.() ?? [];
            const first = this.stroke.points.length - 1;
            this.stroke.points.push(...(events.length ? events : [event]).map((each) => this.place(each)));
            this.draw(this.pen, this.stroke, first);
        }

        /** @param {PointerEvent} event */
        release(event) {
            if (this.stroke && event.isPrimary) this.add(this.stroke);
        }

        drop() {
            this.stroke = null;
            this.redraw();
        }

        /** @param {LbwStroke} stroke */
        add(stroke) {
            this.stroke = null;
            this.painting.strokes.push(stroke);
            this.redraw();
        }

        clear() {
            this.add({ erases: true, size: 0, points: [] });
        }

        undo() {
            this.painting.strokes.pop();
            this.redraw();
        }

        /**
         * Show the brush at the pointer, but not under a finger, which would cover it.
         *
         * @param {PointerEvent} event
         */
        follow(event) {
            const [x, y] = this.place(event);
            this.ring.hidden = event.pointerType === "touch";
            this.ring.style.left = `${100 * x}%`;
            this.ring.style.top = `${100 * y}%`;
            const side = Math.max(this.canvas.clientWidth, this.canvas.clientHeight);
            this.ring.style.width = `${this.painting.size * side}px`;
        }

        /**
         * Draw a stroke, beginning with its point number `first`.
         *
         * @param {CanvasRenderingContext2D} pen
         * @param {LbwStroke} stroke
         */
        draw(pen, stroke, first = 0) {
            const { width, height } = this.canvas;
            const points = stroke.points.slice(first).map(([x, y]) => /** @type {const} */ ([x * width, y * height]));
            pen.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
            pen.strokeStyle = COLOR;
            pen.lineCap = pen.lineJoin = "round";
            pen.lineWidth = stroke.size * Math.max(width, height);
            pen.beginPath();
            pen.moveTo(points[0][0] + 0.01, points[0][1]); // a line of zero length would not be drawn
            for (const point of points) pen.lineTo(...point);
            pen.stroke();
        }

        /** Redraw all strokes and report the mask. */
        redraw() {
            const { pen, canvas } = this;
            if (!pen) return;
            const { strokes } = this.painting;
            const shown = strokes.slice(strokes.findLastIndex((stroke) => !stroke.points.length) + 1);
            pen.clearRect(0, 0, canvas.width, canvas.height);
            for (const stroke of shown) this.draw(pen, stroke);
            this.tell(shown.some((stroke) => !stroke.erases) ? canvas.toDataURL() : "");
        }
    }

    class Mask extends HTMLElement {
        connectedCallback() {
            const picture = this.querySelector("img");
            if (!picture || this.querySelector("canvas")) return;
            const id = this.dataset.box ?? "";
            const painting = paintingFor(id);
            const stage = new Stage(picture, painting, (address) => {
                const box = lbwPage.box(id);
                if (box && box.value !== address) lbwPage.enter(box, address);
                bar.show();
            });
            const bar = new Bar(painting, { undo: () => stage.undo(), clear: () => stage.clear() });
            const hint = lbwPage.make("div", { class: "lbw-mask-hint", textContent: lbwPage.word(WORDS.hint) });
            this.append(stage.element, bar.element, hint);
            this.tabIndex = -1; // so that it receives Ctrl+Z after a stroke
            this.addEventListener("keydown", (event) => {
                if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z") return;
                event.preventDefault();
                stage.undo();
            });
        }
    }

    customElements.define("lbw-mask", Mask);
})();
