"use strict";
// Sorting and filtering of the tables.
function valueOf(cell) {
  const text = cell.dataset.value.replace(/,/g, "");
  if (text === "–" || text === "") return null;
  if (text.includes("∞")) return text.startsWith("-") ? -Infinity : Infinity;
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}

function compare(first, second, sign) {
  if (first === null || second === null) return (first === null) - (second === null); // last
  if (typeof first === "number" && typeof second === "number") {
    return first === second ? 0 : sign * (first < second ? -1 : 1);
  }
  return sign * String(first).localeCompare(String(second), "en", { numeric: true });
}

for (const table of document.querySelectorAll("figure.table table")) {
  const bodies = [...table.tBodies];
  const order = bodies.map((body) => [...body.rows]);
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];

  const group = () => bodies.forEach((body, index) => body.replaceChildren(...order[index]));

  const sort = (column, sign) => {
    const rows = order.flat().filter((row) => !row.classList.contains("section"));
    const keys = new Map(rows.map((row) => [row, valueOf(row.cells[column])]));
    rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
    for (const body of bodies) body.replaceChildren();
    bodies[0].replaceChildren(...rows);
  };

  headings.forEach((heading, column) => {
    const button = make("button", { type: "button", class: "sort" });
    const text = heading.querySelector(".head");
    button.append(...text.childNodes);
    text.replaceWith(button);
    button.addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const first = numeric && heading.dataset.higher === "yes" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? first : now === first ? second : null;
      for (const other of headings) other.removeAttribute("aria-sort");
      if (next === null) {
        group();
      } else {
        heading.setAttribute("aria-sort", next);
        sort(column, next === "ascending" ? 1 : -1);
      }
    });
  });
}

byId("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  let total = 0;
  for (const table of document.querySelectorAll("#tables figure.table table")) {
    for (const row of table.querySelectorAll("tbody tr:not(.section)")) {
      const text = `${row.cells[0].dataset.value} ${row.dataset.section}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      total += 1;
      shown += row.hidden ? 0 : 1;
    }
    for (const body of table.tBodies) {
      const section = body.querySelector("tr.section");
      if (section) section.hidden = !body.querySelector("tr:not(.section):not([hidden])");
    }
  }
  byId("filtered").textContent = words.length ? `${shown} of ${total} rows` : "";
});
