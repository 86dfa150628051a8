"use strict";
// Figures drawn as SVG: hover or focus tells a mark's values, the legend hides tokenizers.
let WIDTH = 560; // as wide as the column on a phone, so that its text is not scaled down
let HEIGHT = 380;
const EDGE = { left: 58, right: 24, top: 14, bottom: 46 };
let COLUMN = 150; // for the names of lines, right of their ends
const SHAPES = [
  "M0-5.5A5.5 5.5 0 1 1 0 5.5A5.5 5.5 0 1 1 0-5.5Z", // circle
  "M-5-5H5V5H-5Z", // square
  "M0-6.5L6 4.5H-6Z", // triangle
  "M0-7L7 0L0 7L-7 0Z", // diamond
  "M0 6.5L6-4.5H-6Z", // triangle on its tip
  "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", // plus
  "M-6.5 0L4.5-6V6Z", // triangle to the left
  "M0-6.5L6.2-2L3.8 5.3H-3.8L-6.2-2Z", // pentagon
  "M6.5 0L-4.5-6V6Z", // triangle to the right
  "M0-7L2-2H7L3 1.5L4.5 6.5L0 3.5L-4.5 6.5L-3 1.5L-7-2H-2Z", // star
];
const hiddenIds = new Set();

const styleOf = (id) => {
  const index = DATA.ids.indexOf(id);
  return { color: COLORS[index % COLORS.length], shape: SHAPES[index % SHAPES.length] };
};

function ticksOf(low, high, log) {
  const ticks = [];
  if (log) {
    const steps = high / low > 60 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of steps) ticks.push(step * 10 ** power);
    }
  } else {
    const rough = (high - low) / 5 || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough);
    for (let at = Math.ceil(low / step) * step; at <= high + 1e-9; at += step) ticks.push(at);
  }
  const inside = ticks.filter((at) => at >= low - 1e-12 && at <= high + 1e-12);
  return log && inside.length < 2 ? ticksOf(low, high, false) : inside;
}

function scale(values, log, from, to, room, places) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (log) {
    const margin = Math.max(room * Math.log10(high / low), 0.06);
    [low, high] = [low * 10 ** -margin, high * 10 ** margin];
  } else {
    const margin = room * (high - low || Math.abs(high) || 1);
    [low, high] = [low - margin, high + margin];
  }
  const forward = log ? Math.log10 : (value) => value;
  const at = (value) =>
    from + ((forward(value) - forward(low)) / (forward(high) - forward(low))) * (to - from);
  return { at, ticks: places || ticksOf(low, high, log) };
}

function frame(plot, x, y, xLabel, yLabel) {
  const bottom = HEIGHT - EDGE.bottom;
  for (const value of x.ticks) {
    const at = x.at(value);
    plot.append(make("line", { class: "grid", x1: at, x2: at, y1: EDGE.top, y2: bottom }));
    const text = make("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, show(value));
    plot.append(make("g", { class: "tick" }, text));
  }
  for (const value of y.ticks) {
    const at = y.at(value);
    plot.append(make("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: at, y2: at }));
    const text = make("text", { x: EDGE.left - 7, y: at + 4, "text-anchor": "end" }, show(value));
    plot.append(make("g", { class: "tick" }, text));
  }
  plot.append(
    make("line", { class: "axis", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: bottom, y2: bottom }),
    make("line", { class: "axis", x1: EDGE.left, x2: EDGE.left, y1: EDGE.top, y2: bottom }),
    make("text", { x: (EDGE.left + WIDTH - EDGE.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel),
    make("text", { x: -(EDGE.top + bottom) / 2, y: 13, transform: "rotate(-90)", "text-anchor": "middle" }, yLabel),
  );
}

function paretoFront(points, higher) {
  const sign = higher ? 1 : -1;
  let best = -Infinity;
  return [...points]
    .sort((a, b) => b.x - a.x || sign * (b.y - a.y))
    .filter((point) => sign * point.y > best && ((best = sign * point.y), true));
}

// The end tells variants of one tokenizer apart, so the middle goes.
function shorten(text, most) {
  if (text.length <= most) return text;
  const end = Math.floor(most / 2) - 1;
  return `${text.slice(0, most - end - 1)}…${text.slice(-end)}`;
}

// Names of lines in one column, apart from each other and tied to the lines' ends.
function stackLabels(plot, points, x, y) {
  const ends = points.filter((one) => one.label).map((one) => ({ ...one, at: y.at(one.y) }));
  ends.sort((a, b) => a.at - b.at);
  const places = ends.map((one) => one.at);
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i + 1 < places.length; i++) {
      const short = 15 - (places[i + 1] - places[i]);
      if (short > 0) [places[i], places[i + 1]] = [places[i] - short / 2, places[i + 1] + short / 2];
    }
    if (places.length) {
      places[0] = Math.max(places[0], EDGE.top);
      places[places.length - 1] = Math.min(places[places.length - 1], HEIGHT - EDGE.bottom - 4);
    }
  }
  ends.forEach((one, index) => {
    const [from, to] = [x.at(one.x) + 7, WIDTH - EDGE.right - COLUMN + 26];
    const most = Math.floor((COLUMN - 24) / 6.2);
    const text = shorten(one.label, most);
    plot.append(
      make("line", { x1: from, y1: one.at, x2: to, y2: places[index], stroke: "var(--line)" }),
      make("text", { class: "label", x: to + 3, y: places[index] + 4 }, text),
    );
  });
}

// Labels go where they cover no mark and no other label, or are left to the tooltip.
function putLabels(plot, points, x, y) {
  const taken = points.map((p) => [x.at(p.x) - 7, y.at(p.y) - 7, x.at(p.x) + 7, y.at(p.y) + 7]);
  for (const point of points.filter((one) => one.label)) {
    const node = make("text", { class: "label" }, point.label);
    plot.append(node);
    const width = node.getComputedTextLength() || 6.6 * point.label.length;
    const [cx, cy] = [x.at(point.x), y.at(point.y)];
    const places = [
      [cx + 10, cy + 4], [cx - 10 - width, cy + 4], [cx - width / 2, cy - 11], [cx - width / 2, cy + 20],
      [cx + 8, cy - 9], [cx + 8, cy + 17], [cx - 8 - width, cy - 9], [cx - 8 - width, cy + 17],
    ];
    const free = places.find(([left, base]) => {
      const box = [left - 2, base - 10, left + width + 2, base + 3];
      const inside = box[0] > EDGE.left && box[2] < WIDTH - 2 && box[1] > 0 && box[3] < HEIGHT - EDGE.bottom;
      return inside && !taken.some((o) => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3]);
    });
    if (!free) {
      node.remove();
      continue;
    }
    node.setAttribute("x", free[0]);
    node.setAttribute("y", free[1]);
    taken.push([free[0] - 2, free[1] - 10, free[0] + width + 2, free[1] + 3]);
  }
}

function mark(point, x, y) {
  const style = point.grey ? { color: "var(--grey)", shape: point.shape } : styleOf(point.id);
  const node = make("path", {
    class: "mark", d: style.shape, fill: style.color, tabindex: 0, role: "img", "aria-label": point.tip,
    transform: `translate(${x.at(point.x)} ${y.at(point.y)})`,
  });
  for (const name of ["pointerenter", "focus"]) {
    node.addEventListener(name, () => showTip(point.tip, node));
  }
  for (const name of ["pointerleave", "blur"]) node.addEventListener(name, hideTip);
  return node;
}

function addPlot(host, title, remark) {
  const plot = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": title });
  const caption = make("figcaption", {}, title, make("small", {}, remark));
  host.append(make("figure", { class: "plot" }, caption, plot));
  return plot;
}

// points: {x, y, id, line, label, tip}; drawn where there are two places on the x axis.
function drawLines(host, options) {
  const { title, remark, points, xLabel, yLabel, logX, higher, places, ends } = options;
  if (new Set(points.map((point) => point.x)).size < 2) return;
  const shown = points.filter((point) => !hiddenIds.has(point.id));
  const plot = addPlot(host, title, remark);
  if (!shown.length) return;
  const heights = shown.map((p) => p.y);
  const wide = Math.max(...heights) / Math.min(...heights) > 20;
  const logY = options.logY === "always" || (options.logY && wide);
  const right = WIDTH - EDGE.right - (ends ? COLUMN : 0);
  const x = scale(shown.map((p) => p.x), logX, EDGE.left, right, 0.14, places);
  const y = scale(shown.map((p) => p.y), logY, HEIGHT - EDGE.bottom, EDGE.top, 0.1);
  frame(plot, x, y, xLabel + (logX ? " (log)" : ""), yLabel + (logY ? " (log)" : ""));
  for (const line of new Set(shown.map((point) => point.line))) {
    const mine = shown.filter((point) => point.line === line).sort((a, b) => a.x - b.x);
    const path = mine.map((point) => `${x.at(point.x)},${y.at(point.y)}`).join(" ");
    const color = mine[0].grey ? "var(--grey)" : styleOf(mine[0].id).color;
    if (mine.length > 1) {
      plot.append(make("polyline", { points: path, fill: "none", stroke: color, "stroke-width": 1.2 }));
    }
  }
  if (higher !== undefined) {
    const front = paretoFront(shown.filter((point) => point.races), higher);
    if (front.length > 1) {
      const path = front.map((point) => `${x.at(point.x)},${y.at(point.y)}`).join(" ");
      plot.append(make("polyline", { class: "front", points: path }));
    }
  }
  plot.append(...shown.map((point) => mark(point, x, y)));
  (ends ? stackLabels : putLabels)(plot, shown, x, y);
}

function drawSpreads(host, group, key) {
  const rows = group.rows.filter((row) => row.scores[key] && row.scores[key].quantiles.length);
  if (rows.length < 2) return;
  const plot = addPlot(host, "Scores of single images", "box: quartiles and median; line: 5% to 95%; marks: images");
  const shown = rows.filter((row) => !hiddenIds.has(row.id));
  if (!shown.length) return;
  shown.sort((a, b) => b.scores[key].quantiles[2] - a.scores[key].quantiles[2]);
  const all = shown.flatMap((row) => [...row.scores[key].quantiles, ...row.scores[key].values.map((one) => one[1])]);
  const left = 16 + 7 * Math.min(24, Math.max(...shown.map((row) => row.name.length)));
  const x = scale(all.filter((value) => value !== null), false, left, WIDTH - EDGE.right, 0.04);
  const step = (HEIGHT - EDGE.bottom - EDGE.top) / shown.length;
  for (const value of x.ticks) {
    const at = x.at(value);
    plot.append(make("line", { class: "grid", x1: at, x2: at, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    const text = make("text", { x: at, y: HEIGHT - EDGE.bottom + 17, "text-anchor": "middle" }, show(value));
    plot.append(make("g", { class: "tick" }, text));
  }
  plot.append(make("text", { x: (left + WIDTH) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, nameOf(key)));
  shown.forEach((row, index) => {
    const middle = EDGE.top + step * (index + 0.5);
    const half = Math.min(10, step * 0.32);
    const [a, b, c, d, e] = row.scores[key].quantiles.map(x.at);
    const { color } = styleOf(row.id);
    const values = row.scores[key].quantiles.map(show).join(", ");
    const box = make("rect", {
      x: b, y: middle - half, width: Math.max(1, d - b), height: 2 * half, stroke: color, "stroke-width": 1.5,
      fill: color, "fill-opacity": 0.15, tabindex: 0, role: "img",
      "aria-label": `${row.name}: 5%, quartiles and 95% of ${nameOf(key)}: ${values}`,
    });
    for (const name of ["pointerenter", "focus"]) {
      box.addEventListener(name, () => showTip(box.getAttribute("aria-label"), box));
    }
    for (const name of ["pointerleave", "blur"]) box.addEventListener(name, hideTip);
    const label = shorten(row.name, 24);
    plot.append(
      make("text", { x: left - 8, y: middle + 4, "text-anchor": "end" }, label),
      make("line", { x1: a, x2: e, y1: middle, y2: middle, stroke: color, "stroke-width": 1.2 }),
      ...row.scores[key].values.map(([image, value]) => {
        const at = x.at(value);
        const line = { x1: at, x2: at, y1: middle - half * 0.6, y2: middle + half * 0.6, stroke: "var(--soft)" };
        return make("line", { ...line, "stroke-opacity": 0.45 });
      }),
      box,
      make("line", { x1: c, x2: c, y1: middle - half, y2: middle + half, stroke: color, "stroke-width": 3 }),
    );
  });
}

const nameOf = (key) => `${DATA.metrics[key].name} ${DATA.metrics[key].higher ? "↑" : "↓"}`;

function pointOf(row, group, x, xText, y, yText, line, label) {
  const parts = [row.name, `${xText}: ${show(x)}`, `${yText}: ${show(y)}`];
  return { x, y, id: row.id, races: row.races, line, label, tip: parts.join("\n") };
}

function setSize(room) {
  WIDTH = Math.max(320, Math.min(560, room));
  HEIGHT = WIDTH < 450 ? 300 : 380;
  COLUMN = WIDTH < 450 ? 124 : 150;
}

function drawFigures() {
  const group = DATA.groups[byId("figure-group").value];
  const key = byId("figure-metric").value;
  const { higher } = DATA.metrics[key];
  const host = byId("plots");
  host.replaceChildren();
  setSize(host.clientWidth);
  const scored = group.rows.filter((row) => row.metrics[key] !== null);
  const values = scored.map((row) => row.metrics[key]);
  const positive = values.filter((value) => value > 0);
  const logY = !higher && Math.max(...positive) / Math.min(...positive) > 20;
  const known = scored.filter((row) => !logY || row.metrics[key] > 0);
  const lost = group.rows.filter((row) => !known.includes(row) && (row.infinite[key] || row.metrics[key] === 0));
  const off = lost.map((row) => `${row.name} (${row.infinite[key] ? "∞" : 0})`).join(", ");
  const remark = `${group.resolution} px, ${group.setting}${off ? `; off the scale: ${off}` : ""}`;
  const common = { yLabel: nameOf(key), logY, remark };
  const points = (of, text, line = (row) => row.id) =>
    known.filter((row) => of(row) > 0).map((row) =>
      pointOf(row, group, of(row), text, row.metrics[key], nameOf(key), line(row), row.name));

  const timed = known.filter((row) => row.speeds.decode[0] > 0);
  const tokenizers = timed.filter((row) => !row.yardstick);
  const beside = tokenizers.length ? tokenizers : timed;
  for (const machine of new Set(beside.map((row) => row.machine))) {
    const mine = beside.filter((row) => row.machine === machine);
    const speeds = points((row) => (mine.includes(row) ? row.speeds.decode[0] : null), "decode images/s");
    drawLines(host, {
      ...common, title: "Quality and decode speed; dashed: Pareto front", remark: `${remark}; ${machine}`,
      points: speeds, xLabel: "decode images/s", logX: true, higher,
    });
  }
  const racing = (of, text, line) => points((row) => (row.races ? of(row) : null), text, line);
  drawLines(host, {
    ...common, title: "Quality and compression rate", points: racing((row) => row.floats, "floats per pixel"),
    xLabel: "floats per pixel of latent", logX: true,
  });
  drawLines(host, {
    ...common, title: "Quality and compression rate", points: racing((row) => row.bits, "bits per pixel"),
    xLabel: "bits per pixel", logX: true,
  });
  const steps = racing((row) => row.steps, "decoder steps", (row) => row.network);
  drawLines(host, {
    ...common, title: "Quality and decoder steps", points: steps, xLabel: "decoder steps", logX: true,
    places: [...new Set(steps.map((point) => point.x))].sort((a, b) => a - b),
  });
  const sizes = DATA.groups.filter((one) => one.setting === group.setting);
  const largest = Math.max(...sizes.map((one) => one.resolution));
  const overSizes = (of, text) => sizes.flatMap((one) =>
    one.rows.filter((row) => row.races && of(row) > 0).map((row) =>
      pointOf(row, one, one.resolution, "px", of(row), text, row.name,
        one.resolution === largest ? row.name : "")));
  const places = [...new Set(sizes.map((one) => one.resolution))].sort((a, b) => a - b);
  drawLines(host, {
    ...common, title: "Quality and resolution", remark: group.setting, xLabel: "resolution, px", logX: true, places, ends: true,
    points: overSizes((row) => row.metrics[key], nameOf(key)),
  });
  for (const way of ["decode", "encode"]) {
    drawLines(host, {
      title: `Speed of ${way.slice(0, -1)}ing and resolution`, remark: group.setting, xLabel: "resolution, px",
      yLabel: `${way} images/s`, logX: true, logY: "always", places, ends: true,
      points: overSizes((row) => row.speeds[way][0], "images/s"),
    });
  }
  const single = [key, ...Object.keys(DATA.metrics)].find((one) => group.rows.some((row) => row.scores[one]));
  if (single) drawSpreads(host, group, single);
  if (!host.children.length) host.append(make("p", { class: "soft" }, "Nothing to draw: fewer than two points."));
}

function drawPublished() {
  const host = byId("published-plots");
  if (!host || DATA.published.length < 2) return;
  host.replaceChildren();
  const family = (name) => name.replace(/, 1 step$/, "").replace(/[ -]*[SBMLHX]+$/, "") + (/1 step/.test(name) ? "1" : "");
  const families = [...new Set(DATA.published.map((row) => family(row.name)))];
  drawLines(host, {
    title: "Published rFID and decode speed, not measured here",
    remark: `${DATA.published.some((row) => row.digitised) ? "read off a figure; " : ""}hardware ${[...new Set(DATA.published.map((row) => row.hardware))].join(", ")}`,
    xLabel: "decode images/s", yLabel: "rFID ↓", logX: true,
    points: DATA.published.map((row) => ({
      x: row.x, y: row.y, id: row.name, grey: true, line: family(row.name), label: row.name,
      shape: SHAPES[families.indexOf(family(row.name)) % SHAPES.length],
      tip: `${row.name}\nrFID: ${show(row.y)}\ndecode images/s: ${show(row.x)}\n${row.source}`,
    })),
  });
}

fill(byId("figure-group"), DATA.groups.map((group, index) => [index, group.title]));
fill(byId("figure-metric"), Object.keys(DATA.metrics).map((key) => [key, nameOf(key)]));
byId("figure-metric").value = DATA.metric;
for (const id of DATA.ids) {
  const box = make("input", { type: "checkbox", checked: "" });
  const { color, shape } = styleOf(id);
  const sample = make("svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" });
  sample.append(make("path", { d: shape, fill: color }));
  byId("legend").append(make("label", {}, box, sample, id));
  box.addEventListener("change", () => {
    hiddenIds[box.checked ? "delete" : "add"](id);
    drawFigures();
  });
}
byId("figure-group").addEventListener("change", drawFigures);
byId("figure-metric").addEventListener("change", drawFigures);
drawFigures();
drawPublished();
let room = byId("plots").clientWidth;
addEventListener("resize", () => {
  if (byId("plots").clientWidth === room) return;
  room = byId("plots").clientWidth;
  drawFigures();
  drawPublished();
});
