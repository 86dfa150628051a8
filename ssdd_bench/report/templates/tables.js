"use strict";
// The tables: choosing rows, resolutions and columns, sorting, saving. All of it stands in the
// address (#tables?rate=f8c4&sort=psnr:descending), so that a link shows what its sender saw.
const STATE = { q: "", rate: "", px: "", data: "", protocol: "", tab: "", sort: "", columns: "" };
const section = byId("tables");
const boards = [...section.querySelectorAll(".board")];
const choosers = [...section.querySelectorAll("[data-choice]")];

function valueOf(cell) {
  const text = (cell.dataset.value ?? cell.textContent).replace(/,/g, ""); // without marks of notes
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

// A table that sorts: its third click groups by compression rate again.
function sortable(table, changed) {
  const bodies = [...table.tBodies];
  const order = bodies.map((body) => [...body.rows]);
  const headings = [...table.tHead.rows[0].cells];

  function sort(key, way) {
    for (const heading of headings) heading.removeAttribute("aria-sort");
    const column = headings.findIndex((heading) => heading.dataset.key === key);
    bodies.forEach((body, index) => body.replaceChildren(...(column < 0 ? order[index] : [])));
    if (column < 0) return;
    headings[column].setAttribute("aria-sort", way);
    const rows = order.flat().filter((row) => !row.classList.contains("section"));
    const values = new Map(rows.map((row) => [row, valueOf(row.cells[column])]));
    const sign = way === "ascending" ? 1 : -1;
    rows.sort((a, b) => compare(values.get(a), values.get(b), sign));
    bodies[0].replaceChildren(...rows);
  }

  for (const heading of headings) {
    const button = make("button", { type: "button", class: "sort" });
    const text = heading.querySelector(".head");
    button.append(...text.childNodes);
    text.replaceWith(button);
    button.addEventListener("click", () => {
      const best = heading.classList.contains("number") && heading.dataset.higher === "yes";
      const ways = best ? ["descending", "ascending"] : ["ascending", "descending"];
      const next = ways[ways.indexOf(heading.getAttribute("aria-sort")) + 1];
      changed(next ? `${heading.dataset.key}:${next}` : "", sort);
    });
  }
  return { headings, sort };
}

const sections = new Map(); // of rows, which sorting takes out of their sections
for (const row of document.querySelectorAll("figure.table tbody tr")) sections.set(row, row.parentNode.dataset.section);
const rowsOf = (node) => [...node.querySelectorAll("tbody tr:not(.section)")];
const tables = [...section.querySelectorAll("figure.table table")].map((node) => ({
  node,
  rows: rowsOf(node),
  ...sortable(node, (sort) => set({ sort })),
}));
for (const node of document.querySelectorAll("main section:not(#tables) figure.table table")) {
  sortable(node, (text, sort) => sort(...text.split(/:(?=[^:]*$)/)));
}

// Columns, once for all tables: those marked as main are shown until others are chosen.
const columns = new Map();
for (const { headings } of tables) {
  for (const heading of headings.slice(1)) {
    const { dataset } = heading;
    const old = columns.get(dataset.key);
    const marks = heading.querySelector("sup");
    const name = heading.textContent.slice(0, marks ? -marks.textContent.length : undefined).replace(/@\d+/, "");
    columns.set(dataset.key, { name: old ? old.name : name, main: dataset.main === "yes" || Boolean(old && old.main) });
  }
}
const usual = [...columns].filter(([, one]) => one.main).map(([key]) => key).join("|");
for (const [key, { name }] of columns) {
  const box = make("input", { type: "checkbox", value: key });
  box.addEventListener("change", () => {
    const chosen = [...byId("columns").querySelectorAll("input:checked")].map((one) => one.value).join("|");
    set({ columns: chosen === usual ? "" : chosen || "none" });
  });
  byId("columns").append(make("label", {}, box, name));
}

function showColumns() {
  const shown = new Set((STATE.columns || usual).split("|"));
  for (const box of byId("columns").querySelectorAll("input")) box.checked = shown.has(box.value);
  for (const { node, headings, rows } of tables) {
    const hidden = headings.map((one, index) => index > 0 && !shown.has(one.dataset.key));
    for (const { cells } of [node.tHead.rows[0], ...rows]) {
      hidden.forEach((hide, index) => (cells[index].hidden = hide));
    }
    for (const text of node.closest("figure").querySelectorAll("[data-explains]")) {
      text.hidden = !text.dataset.explains.split("|").some((key) => shown.has(key));
    }
  }
}

function showRows() {
  const words = STATE.q.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = [];
  for (const { node, rows } of tables) {
    for (const row of rows) {
      const { label, title, family, data, protocol, resolution } = DATA.rows[row.dataset.row];
      const rate = sections.get(row).split(":")[0];
      const text = [label, title, family, sections.get(row)].join(" ").toLowerCase();
      row.hidden = !(words.every((word) => text.includes(word)) && (!STATE.rate || STATE.rate === rate)
        && (!STATE.px || STATE.px === String(resolution)) && (!STATE.data || STATE.data === data) && (!STATE.protocol || STATE.protocol === protocol));
      if (!row.hidden) chosen.push(row.dataset.row);
    }
    for (const body of node.tBodies) {
      const head = body.querySelector("tr.section");
      if (head) head.hidden = !body.querySelector("tr:not(.section):not([hidden])");
    }
  }
  for (const board of boards) {
    board.hidden = !board.querySelector("tbody tr:not(.section):not([hidden])");
    const panels = [...board.querySelectorAll(".panel")];
    const full = panels.filter((panel) => panel.querySelector("tbody tr:not(.section):not([hidden])"));
    const open = full.find((panel) => panel.dataset.px === STATE.tab) || full[0] || panels[0];
    for (const panel of panels) panel.hidden = panel !== open;
    for (const button of board.querySelectorAll(".tabs button")) {
      button.setAttribute("aria-pressed", String(button.dataset.px === open.dataset.px));
    }
  }
  const filtered = Boolean(words.length || STATE.rate || STATE.px || STATE.data || STATE.protocol);
  const found = new Set(chosen);
  byId("filtered").textContent = filtered ? `${found.size} of ${Object.keys(DATA.rows).length} results` : "";
  filterFigures(filtered ? [...found].map((key) => DATA.rows[key]) : null);
}

function showSort() {
  const [, key = "", way = ""] = STATE.sort.match(/^(.*):(ascending|descending)$/) || [];
  for (const table of tables) table.sort(key, way);
}

function showAll() {
  byId("filter").value = STATE.q;
  for (const one of choosers) {
    one.value = STATE[one.dataset.choice];
    if (one.selectedIndex < 0) one.selectedIndex = 0;
  }
  showColumns();
  showSort();
  showRows();
}

function set(changes) {
  Object.assign(STATE, changes);
  const chosen = Object.entries(STATE).filter(([, value]) => value);
  history.replaceState(null, "", `#tables${chosen.length ? "?" : ""}${new URLSearchParams(chosen)}`);
  showAll();
}

function readAddress() {
  const [place, query] = location.hash.slice(1).split(/\?(.*)/s);
  if (place !== "tables" || query === undefined) return;
  const given = new URLSearchParams(query);
  for (const key of Object.keys(STATE)) STATE[key] = given.get(key) || "";
  showAll();
  section.scrollIntoView();
}

// Whole values of the rows in sight, in their order, not the rounded texts of the cells.
function chosenRows() {
  const open = tables.filter(({ node }) => !node.closest("[hidden]"));
  const keys = open.flatMap(({ node }) => rowsOf(node).filter((row) => !row.hidden).map((row) => row.dataset.row));
  return [...new Set(keys)].map((key) => DATA.rows[key]);
}

function toCsv(rows) {
  const keys = [...new Set(rows.flatMap(Object.keys))];
  const field = (value) => {
    const text = Array.isArray(value) ? value.join("; ") : String(value ?? "");
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [keys, ...rows.map((row) => keys.map((key) => row[key]))].map((line) => line.map(field).join(",")).join("\n");
}

for (const button of section.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const kind = button.dataset.save;
    const text = kind === "csv" ? toCsv(chosenRows()) : JSON.stringify(chosenRows(), null, 1);
    const link = make("a", { download: `results.${kind}`, href: `data:text/${kind};charset=utf-8,${encodeURIComponent(`${text}\n`)}` });
    link.click();
  });
}
byId("filter").addEventListener("input", (event) => set({ q: event.target.value }));
for (const one of choosers) one.addEventListener("change", () => set({ [one.dataset.choice]: one.value }));
for (const button of section.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => set({ tab: button.dataset.px }));
}
addEventListener("hashchange", readAddress);
showAll();
readAddress();
