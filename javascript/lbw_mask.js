"use strict";

/**
 * `<lbw-mask data-box="ID"><img></lbw-mask>`: a mask is painted on the picture, with the mouse, a finger or a pen.
 *
 * The text box within the element ID gets the mask as the address of a PNG that is opaque where it was painted, or
 * nothing. Strokes are kept as lines, in parts of the picture: they stay when another picture comes for the same box.
 */
(function () {
    if (customElements.get("lbw-mask")) return;

    const LARGEST = 1024; // pixels of the mask's longer side
    const COLOUR = "#ff2d78";
    const WORDS = {
        paint: "Paint",
        erase: "Erase",
        undo: "Undo",
        clear: "Clear",
        size: "Brush size",
        hint: "Paint the region to look at; nothing painted: the whole picture.",
    };
    const kept = new Map(); // the strokes and the brush, by the id of their box

    /** Return `text` in the page's language. */
    function word(text) {
        return (window.localization && window.localization[text]) || text;
    }

    function make(name, className, text = "") {
        const element = document.createElement(name);
        element.className = className;
        element.textContent = text;
        return element;
    }

    class Mask extends HTMLElement {
        connectedCallback() {
            if (this.canvas) return;
            const id = this.dataset.box;
            if (!kept.has(id)) kept.set(id, { strokes: [], size: 0.08, erases: false });
            this.kept = kept.get(id);
            this.box = this.getRootNode().querySelector(`#${id} :is(textarea, input)`);
            this.picture = this.querySelector("img");
            this.picture.draggable = false;
            this.canvas = make("canvas", "");
            this.ring = make("span", "lbw-mask-ring");
            const stage = make("div", "lbw-mask-stage");
            stage.append(this.picture, this.canvas, this.ring);
            this.append(stage, this.bar(), make("div", "lbw-mask-hint", word(WORDS.hint)));
            this.listen();
            this.picture.decode().then(() => this.begin(stage));
        }

        /** Return the buttons and the size of the brush. */
        bar() {
            const bar = make("div", "lbw-mask-bar");
            const button = (text, action) => {
                const made = make("button", "", word(text));
                made.type = "button";
                made.addEventListener("click", action);
                bar.append(made);
                return made;
            };
            const tool = (erases) => () => {
                this.kept.erases = erases;
                this.refresh();
            };
            this.tools = [button(WORDS.paint, tool(false)), button(WORDS.erase, tool(true))];
            this.undoer = button(WORDS.undo, () => this.undo());
            this.clearer = button(WORDS.clear, () => this.add({ clears: true }));
            const size = make("input", "");
            Object.assign(size, { type: "range", min: 0.01, max: 0.4, step: 0.01, value: this.kept.size });
            size.addEventListener("input", () => (this.kept.size = Number(size.value)));
            const label = make("label", "", word(WORDS.size));
            label.append(size);
            bar.append(label);
            this.tabIndex = -1; // after a stroke, Ctrl+Z is heard here
            return bar;
        }

        listen() {
            this.canvas.addEventListener("pointerdown", (event) => this.press(event));
            this.canvas.addEventListener("pointermove", (event) => this.move(event));
            this.canvas.addEventListener("pointerup", (event) => this.release(event));
            this.canvas.addEventListener("pointercancel", () => this.drop()); // a second finger zooms the page
            this.canvas.addEventListener("pointerleave", () => (this.ring.hidden = true));
            this.addEventListener("keydown", (event) => {
                if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
                    event.preventDefault();
                    this.undo();
                }
            });
        }

        /** Take the measure of the picture, now that it is known, and show what was painted before. */
        begin(stage) {
            const { naturalWidth: width, naturalHeight: height } = this.picture;
            const scale = Math.min(1, LARGEST / Math.max(width, height));
            this.canvas.width = Math.max(1, Math.round(width * scale));
            this.canvas.height = Math.max(1, Math.round(height * scale));
            stage.style.setProperty("--lbw-ratio", width / height);
            this.pen = this.canvas.getContext("2d");
            this.redraw();
        }

        // Strokes -----------------------------------------------------------------------------------

        /** Return where `event` is, in parts of the picture. */
        place(event) {
            const at = this.canvas.getBoundingClientRect();
            return [(event.clientX - at.left) / at.width, (event.clientY - at.top) / at.height];
        }

        press(event) {
            if (!this.pen || !event.isPrimary || (event.button !== 0 && event.button !== 5)) return;
            event.preventDefault();
            this.focus({ preventScroll: true });
            this.canvas.setPointerCapture(event.pointerId);
            const erases = this.kept.erases || event.button === 5; // the other end of a pen
            this.stroke = { erases, size: this.kept.size, points: [this.place(event)] };
            this.draw(this.stroke);
        }

        move(event) {
            if (!event.isPrimary) return;
            this.follow(event);
            if (!this.stroke) return;
            const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
            const first = this.stroke.points.length - 1;
            this.stroke.points.push(...(events.length ? events : [event]).map((each) => this.place(each)));
            this.draw(this.stroke, first);
        }

        release(event) {
            if (!this.stroke || !event.isPrimary) return;
            this.add(this.stroke);
        }

        drop() {
            this.stroke = null;
            this.redraw();
        }

        add(stroke) {
            this.stroke = null;
            this.kept.strokes.push(stroke);
            this.redraw();
        }

        undo() {
            this.kept.strokes.pop();
            this.redraw();
        }

        /** Show the brush where the pointer is; a finger covers it anyway. */
        follow(event) {
            const [x, y] = this.place(event);
            this.ring.hidden = event.pointerType === "touch";
            this.ring.style.left = `${100 * x}%`;
            this.ring.style.top = `${100 * y}%`;
            const side = Math.max(this.canvas.clientWidth, this.canvas.clientHeight);
            this.ring.style.width = `${this.kept.size * side}px`;
        }

        /** Draw a stroke from its point number `first` on. */
        draw(stroke, first = 0) {
            const { pen, canvas } = this;
            const points = stroke.points.slice(first).map(([x, y]) => [x * canvas.width, y * canvas.height]);
            pen.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
            pen.strokeStyle = COLOUR;
            pen.lineCap = pen.lineJoin = "round";
            pen.lineWidth = stroke.size * Math.max(canvas.width, canvas.height);
            pen.beginPath();
            pen.moveTo(points[0][0] + 0.01, points[0][1]); // a line without a length would not be drawn
            for (const point of points) pen.lineTo(...point);
            pen.stroke();
        }

        /** Draw every stroke anew, and tell the page. */
        redraw() {
            if (!this.pen) return;
            const { strokes } = this.kept;
            const shown = strokes.slice(strokes.findLastIndex((stroke) => stroke.clears) + 1);
            this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
            for (const stroke of shown) this.draw(stroke);
            this.refresh();
            this.tell(shown.some((stroke) => !stroke.erases) ? this.canvas.toDataURL() : "");
        }

        refresh() {
            this.tools.forEach((tool, place) => tool.setAttribute("aria-pressed", this.kept.erases === (place === 1)));
            const { strokes } = this.kept;
            this.undoer.disabled = !strokes.length;
            this.clearer.disabled = !strokes.length || strokes.at(-1).clears;
        }

        tell(address) {
            if (!this.box || this.box.value === address) return;
            this.box.value = address;
            this.box.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }

    customElements.define("lbw-mask", Mask);
})();
