"use strict";

/**
 * The table of an analysis, and the divider between two pictures.
 *
 * Clicking a heading sorts the table; clicking a row writes its block to the text box named by `data-box`. Rows stay
 * sorted when the table is replaced by a newer one, as happens while an analysis runs.
 */
(() => {
    /** @typedef {{ column: number, isDown: boolean }} Order */

    /** @type {WeakMap<Element, Order>} by the element that stays when its table is replaced */
    const orders = new WeakMap();

    /**
     * Return what a row is sorted by.
     *
     * @param {HTMLTableRowElement} row
     * @param {number} column
     */
    function key(row, column) {
        const cell = row.cells[column];
        return cell.dataset.sort ?? cell.textContent ?? "";
    }

    /**
     * @param {string} a
     * @param {string} b
     */
    function compare(a, b) {
        const difference = a === "" || b === "" ? NaN : Number(a) - Number(b);
        return Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference;
    }

    /**
     * Sort the rows of the table in `keeper` as last chosen.
     *
     * @param {Element} keeper
     */
    function sort(keeper) {
        const table = keeper.querySelector("table");
        const order = orders.get(keeper);
        if (!table || !table.tHead || !order) return;
        const { column, isDown } = order;
        const old = [...table.tBodies[0].rows];
        const rows = [...old].sort((a, b) => compare(key(a, column), key(b, column)) * (isDown ? -1 : 1));
        if (rows.some((row, place) => row !== old[place])) table.tBodies[0].append(...rows);
        [...table.tHead.rows[0].cells].forEach((cell, place) => {
            cell.setAttribute("aria-sort", place !== column ? "none" : isDown ? "descending" : "ascending");
        });
    }

    /**
     * Sort by a heading: on the first click as its `data-first` says, on the next in reverse.
     *
     * @param {Element} table
     * @param {HTMLTableCellElement} heading
     */
    function sortBy(table, heading) {
        const keeper = table.closest("[id]") ?? table;
        const column = heading.cellIndex;
        const before = orders.get(keeper);
        const isDown = before?.column === column ? !before.isDown : heading.dataset.first !== "ascending";
        if (!before) new MutationObserver(() => sort(keeper)).observe(keeper, { childList: true, subtree: true });
        orders.set(keeper, { column, isDown });
        sort(keeper);
    }

    document.addEventListener("click", (event) => {
        const table = lbwPage.closest(event, ".lbw-results");
        if (!table) return;
        const heading = lbwPage.closest(event, "th");
        const row = lbwPage.closest(event, "tr[data-block]");
        if (heading instanceof HTMLTableCellElement) sortBy(table, heading);
        // The time makes every click a change, even a second one on the same row.
        else if (row) lbwPage.enter(lbwPage.box(table.dataset.box), `${row.dataset.block}\n${Date.now()}`);
    });

    document.addEventListener("input", (event) => {
        const divider = lbwPage.closest(event, ".lbw-compare input");
        if (!(divider instanceof HTMLInputElement)) return;
        divider.parentElement?.style.setProperty("--lbw-at", `${divider.value}%`);
    });
})();
