"use strict";
// Shared by the other scripts: the data, new elements, numbers, the tooltip, light and dark.
const DATA = JSON.parse(document.getElementById("data").textContent);

const byId = (id) => document.getElementById(id);

const nameOf = (key) => `${DATA.metrics[key].name} ${DATA.metrics[key].higher ? "↑" : "↓"}`;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function fill(select, items) {
  select.replaceChildren(...items.map(([value, text]) => make("option", { value }, text)));
}

// A metric's value with its own decimals, as in the tables, or four digits.
function show(value, key) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const { decimals = null } = DATA.metrics[key];
  if (decimals !== null) return value.toFixed(decimals);
  if (size >= 1000) return value.toFixed(0);
  return size !== 0 && size < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
}

const tip = byId("tip");
let owner = null; // the mark that the tip tells of
function showTip(text, node) {
  owner = node;
  const box = node.getBoundingClientRect();
  tip.textContent = text;
  tip.hidden = false;
  const left = Math.min(box.right + 10, innerWidth - tip.offsetWidth - 8);
  const top = Math.min(Math.max(8, box.top - tip.offsetHeight - 8), innerHeight - tip.offsetHeight);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${top}px`;
}
function hideTip() {
  tip.hidden = true;
  owner = null;
}
addEventListener("scroll", () => {
  if (owner && owner === document.activeElement) showTip(tip.textContent, owner);
  else hideTip();
}, { passive: true, capture: true }); // that of a table in its frame too
addEventListener("keydown", (event) => event.key === "Escape" && hideTip());

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

// A menu opens below its button, and further to the left where it would leave its row.
for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("toggle", () => {
    const list = menu.lastElementChild;
    list.style.left = "0";
    const over = list.getBoundingClientRect().right - menu.parentElement.getBoundingClientRect().right;
    if (over > 0) list.style.left = `${-over}px`;
  });
}
addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = menu.contains(target);
});

addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
});
