"use strict";
// Figures come drawn, as SVG: hover or focus tells a mark's values, the legend hides families, and
// on a narrow screen the panels of a figure stand below each other.
const parts = Object.entries(DATA.parts).map(([id, [family, text]]) => ({ node: byId(id), family, text }));

for (const { node, text } of parts.filter((part) => part.text)) {
  node.classList.add("mark");
  for (const [key, value] of [["tabindex", 0], ["role", "img"], ["aria-label", text]]) {
    node.setAttribute(key, value);
  }
  for (const name of ["pointerenter", "focus", "click"]) node.addEventListener(name, () => showTip(text, node));
  for (const name of ["pointerleave", "blur"]) node.addEventListener(name, hideTip);
}

// The legend hides families, and the filter of the tables hides what it hides there.
const boxes = [...document.querySelectorAll("#legend input")];
let rowsInSight = null; // all
function filterFigures(rows) {
  rowsInSight = rows;
  const families = rows && new Set(rows.map((row) => row.id));
  const marks = rows && new Set(rows.map((row) => `${row.label}, ${row.resolution} px`));
  const off = new Set(boxes.filter((box) => !box.checked).map((box) => Number(box.value)));
  for (const { node, family, text } of parts) {
    const known = !rows || family < 0 || families.has(DATA.families[family]);
    const inSight = known && (!rows || family < 0 || !text || marks.has(text.split("\n")[0]));
    node.style.display = inSight && !off.has(family) ? "" : "none";
  }
}
for (const box of boxes) box.addEventListener("change", () => filterFigures(rowsInSight));

const choice = byId("figure-metric");
if (choice) {
  choice.addEventListener("change", () => {
    for (const figure of document.querySelectorAll("figure.plot")) {
      figure.hidden = figure.dataset.metric !== "" && figure.dataset.metric !== choice.value;
    }
  });
}

const narrow = matchMedia("(max-width: 40rem)");
function arrange() {
  for (const figure of document.querySelectorAll("figure.plot")) {
    const svg = figure.querySelector("svg");
    const whole = (svg.dataset.whole ||= svg.getAttribute("viewBox"));
    let [width, bottom] = [0, 0];
    for (const [id, [x, y, wide, high]] of Object.entries(DATA.panels[figure.dataset.key])) {
      const node = byId(id);
      if (narrow.matches) node.setAttribute("transform", `translate(${4 - x} ${bottom - y})`);
      else node.removeAttribute("transform");
      width = Math.max(width, wide + 8);
      bottom += high + 12;
    }
    svg.setAttribute("viewBox", narrow.matches ? `0 0 ${width} ${bottom}` : whole);
    // A wide panel scrolls in its frame: squeezed, its labels could not be read.
    svg.style.minWidth = narrow.matches && width > 340 ? `${Math.round(1.15 * width)}px` : "";
    figure.classList.toggle("stacked", narrow.matches);
  }
}
narrow.addEventListener("change", arrange);
arrange();
