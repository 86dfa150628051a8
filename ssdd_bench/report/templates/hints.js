"use strict";
// Intervals and footnotes of the tables' values, in the tip of the figures: by pointing, by a tap or
// from the keyboard. A table is one stop of the tab key; from there, arrow keys go to the next value.
const HINTED = "figure.table :is(th, td):is([title], [data-hint], :has(> sup), :has(> button > sup))";

// The title serves without scripts; here it would be a second tip.
function takeHint(cell) {
  if (cell.dataset.hint === undefined) {
    const titled = [cell, ...cell.querySelectorAll("sup")].filter((node) => node.title);
    cell.dataset.hint = titled.map((node) => node.title).join("\n");
    for (const node of titled) node.removeAttribute("title");
  }
  return cell.dataset.hint;
}

const targetOf = (cell) => cell.querySelector("button.sort") || cell;
const hinted = ({ target }) => target.closest?.(HINTED);

function tell(event) {
  const cell = hinted(event);
  if (cell) showTip(takeHint(cell), targetOf(cell));
}

function focusOn(cell) {
  if (targetOf(cell) !== cell) return;
  const table = cell.closest("table");
  for (const one of table.querySelectorAll("[tabindex]")) one.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
}

// The next value with a hint that is seen, along a row or a column.
function neighbour(cell, across, down) {
  const rows = [...cell.closest("table").tBodies].flatMap((body) => [...body.rows]);
  const row = rows.indexOf(cell.parentNode);
  const line = across ? [...rows[row].cells] : rows.map((one) => one.cells[cell.cellIndex]);
  const from = across ? cell.cellIndex : row;
  const rest = across + down > 0 ? line.slice(from + 1) : line.slice(0, from).reverse();
  return rest.find((one) => one?.matches(HINTED) && one.getClientRects().length);
}

const main = document.querySelector("main");
for (const name of ["pointerover", "focusin"]) main.addEventListener(name, tell);
main.addEventListener("pointerout", (event) => {
  if (hinted(event) && owner !== document.activeElement) hideTip();
});
main.addEventListener("focusout", (event) => hinted(event) && hideTip());
main.addEventListener("click", (event) => {
  const cell = hinted(event);
  if (cell) focusOn(cell);
  tell(event);
});
main.addEventListener("keydown", (event) => {
  const cell = hinted(event);
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!cell || targetOf(cell) !== cell || !move) return;
  event.preventDefault();
  const next = neighbour(cell, ...move);
  if (next) focusOn(next);
});
for (const table of document.querySelectorAll("figure.table table")) {
  const first = [...table.tBodies].map((body) => body.querySelector("td[title]")).find(Boolean);
  if (first) first.tabIndex = 0;
}
