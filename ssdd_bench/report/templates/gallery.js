"use strict";
// The method of the first sentence is what is looked at first.
function prefer(select) {
  if ([...select.options].some((one) => one.value === DATA.method)) select.value = DATA.method;
}

// The gallery: all tokenizers at one zoom, error maps, two under a slider or in turns, best and worst.
for (const set of DATA.sets) {
  const entries = (keys, values) => Object.fromEntries(keys.map((key, i) => [key, values[i]]).filter(([, one]) => one !== null));
  for (const photo of set.photos) { // written as columns, to be short
    const addresses = photo.reconstructions.map((end) => (end === null ? null : set.base + end));
    photo.reference = set.base + photo.reference;
    photo.reconstructions = entries(set.tokenizers, addresses);
    photo.scores = entries(set.tokenizers, photo.scores.map((mine) => entries(set.metrics, mine)));
  }
}

function startGallery() {
  const stage = document.querySelector(".stage");
  const view = { zoom: 1, x: 0.5, y: 0.5 }; // magnification and the point in the middle
  const current = () => DATA.sets[byId("set").value];
  const photo = () => current().photos[byId("photo").value];

  // One row per tokenizer: its scores on this photo, and a button that brings it to the slider.
  function showScores() {
    const { scores, reconstructions } = photo();
    const keys = Object.keys(DATA.metrics).filter((key) =>
      Object.values(scores).some((mine) => mine[key]));
    const head = make("tr", {}, make("th", { scope: "col" }, "tokenizer"));
    head.append(...keys.map((key) => make("th", { scope: "col", class: "number" }, nameOf(key))));
    const rows = Object.keys(reconstructions).map((name) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        byId("tokenizer").value = name;
        showPair();
      });
      const row = make("tr", { "data-name": name }, make("th", { scope: "row" }, button));
      for (const key of keys) {
        const [value, rank] = (scores[name] || {})[key] || [null, null];
        const text = make("td", { class: "number" }, show(value, key));
        if (rank) text.append(make("span", { class: "soft" }, ` (${rank})`));
        row.append(text);
      }
      return row;
    });
    byId("photo-scores").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  const addressOf = (name) => (name === "" ? photo().reference : photo().reconstructions[name]);
  const titleOf = (name) => (name === "" ? "original" : name);

  function showPair() {
    const names = { before: byId("first").value, after: byId("tokenizer").value };
    for (const [id, name] of Object.entries(names)) {
      byId(id).src = addressOf(name);
      byId(id).alt = `${photo().name}, ${titleOf(name)}`;
      byId(`${id}-name`).textContent = titleOf(name);
    }
    byId("compare-caption").textContent = `${photo().name}: A ${titleOf(names.before)}, B ${titleOf(names.after)}`;
    for (const row of byId("photo-scores").querySelectorAll("tbody tr")) {
      row.setAttribute("aria-selected", String(row.dataset.name === names.after));
    }
  }

  // In turns: B covers A for half a second, and a difference shows as movement.
  let turns = null;
  function flicker(on) {
    clearInterval(turns);
    turns = null;
    byId("flicker").setAttribute("aria-pressed", String(on));
    stage.classList.toggle("turns", on);
    stage.classList.remove("a");
    if (on) turns = setInterval(() => stage.classList.toggle("a"), 500);
  }

  function cut(share) {
    byId("cut").value = share;
    stage.style.setProperty("--cut", `${share}%`);
  }

  // Keeps what was chosen where the new list has it.
  function refill(select, items) {
    const old = select.value;
    fill(select, items);
    if (items.some(([value]) => String(value) === old)) select.value = old;
  }

  function showSet() {
    fill(byId("photo"), current().photos.map((one, index) => [index, one.name]));
    showPhoto();
  }

  function showPhoto() {
    const names = Object.keys(photo().reconstructions);
    refill(byId("tokenizer"), names.map((name) => [name, name]));
    refill(byId("first"), [["", "original"], ...names.map((name) => [name, name])]);
    showScores();
    showPair();
    showTiles();
  }

  function compareWith(name) {
    if (name === "") byId("first").value = "";
    else byId("tokenizer").value = name;
    showPair();
    byId("compare").scrollIntoView({ block: "center" });
    byId("cut").focus({ preventScroll: true });
  }

  function showTiles() {
    const one = photo();
    const tiles = ["", ...Object.keys(one.reconstructions)].map((name) => {
      const image = make("img", { src: addressOf(name), alt: `${one.name}, ${titleOf(name)}`, draggable: "false", loading: "lazy" });
      const box = make("div", { class: "window", tabindex: 0, role: "group", "aria-label": `${titleOf(name)}: zoom and move` });
      box.append(image);
      if (name !== "") box.append(make("img", { class: "difference", src: one.reference, alt: "", draggable: "false", loading: "lazy" }));
      const button = make("button", { type: "button" }, titleOf(name));
      button.addEventListener("click", () => compareWith(name));
      const caption = make("figcaption", {}, button);
      const [key] = Object.keys(one.scores[name] || {});
      if (key) caption.append(make("span", { class: "soft" }, ` ${nameOf(key)} ${show(one.scores[name][key][0], key)}`));
      const tile = make("figure", { class: "tile", "data-name": name }, box, caption);
      listen(box);
      return tile;
    });
    byId("tiles").replaceChildren(...tiles);
    showZoom();
  }

  function showZoom() {
    const half = 0.5 / view.zoom;
    view.x = Math.min(1 - half, Math.max(half, view.x));
    view.y = Math.min(1 - half, Math.max(half, view.y));
    const shift = [0.5 - view.x * view.zoom, 0.5 - view.y * view.zoom].map((part) => `${100 * part}%`);
    for (const node of document.querySelectorAll(".tile .window > *")) {
      node.style.transform = `translate(${shift.join(",")}) scale(${view.zoom})`;
    }
    byId("tiles").classList.toggle("zoomed", view.zoom > 1.5);
    byId("tiles").classList.toggle("moved", view.zoom > 1); // a whole image lets a finger scroll the page
    byId("zoom").value = view.zoom;
    byId("zoom-value").textContent = `${view.zoom}×`;
  }

  function zoomTo(zoom) {
    view.zoom = Math.min(12, Math.max(1, Math.round(zoom * 2) / 2));
    showZoom();
  }

  function move(dx, dy) {
    view.x += dx / view.zoom;
    view.y += dy / view.zoom;
    showZoom();
  }

  function listen(box) {
    let last = null;
    box.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      if (!last) return;
      const size = box.clientWidth;
      move((last[0] - event.clientX) / size, (last[1] - event.clientY) / size);
      last = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, () => (last = null));
    box.addEventListener("dblclick", () => zoomTo(view.zoom > 1 ? 1 : 4));
    box.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== box) return; // scrolling passes over it
      event.preventDefault();
      zoomTo(view.zoom + (event.deltaY < 0 ? 0.5 : -0.5));
    }, { passive: false });
    box.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0),
        ArrowUp: () => move(0, -0.1), ArrowDown: () => move(0, 0.1),
        "+": () => zoomTo(view.zoom + 1), "=": () => zoomTo(view.zoom + 1),
        "-": () => zoomTo(view.zoom - 1), 0: () => zoomTo(1),
      };
      if (!actions[event.key] || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  // Dark to light through colours of rising lightness, so that it reads in grey as well. The browser
  // subtracts the images and colours the mean of the channels: scripts may not read files' pixels.
  const STOPS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [255, 255, 230]];
  ["r", "g", "b"].forEach((channel, i) => {
    byId(`heat-${channel}`).setAttribute("tableValues", STOPS.map((stop) => (stop[i] / 255).toFixed(3)).join(" "));
  });
  byId("heat-bar").style.background = `linear-gradient(to right, ${STOPS.map((stop) => `rgb(${stop.join(" ")})`).join(", ")})`;
  function showHeat() {
    const gain = (255 / Number(byId("heat-scale").value) / 3).toFixed(4);
    const row = `${gain} ${gain} ${gain} 0 0`;
    byId("heat-gain").setAttribute("values", `${row} ${row} ${row} 0 0 0 1 0`);
    byId("tiles").classList.toggle("heated", byId("heat").checked);
  }

  fill(byId("set"), DATA.sets.map((one, index) => [index, one.title]));
  byId("set").addEventListener("change", showSet);
  byId("photo").addEventListener("change", showPhoto);
  for (const id of ["first", "tokenizer"]) byId(id).addEventListener("change", showPair);
  byId("flicker").addEventListener("click", () => flicker(turns === null));
  const step = (by) => {
    const count = current().photos.length;
    byId("photo").value = (Number(byId("photo").value) + by + count) % count;
    showPhoto();
  };
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("cut").addEventListener("input", (event) => cut(Number(event.target.value)));
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = stage.getBoundingClientRect();
    cut(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", drag);
  byId("zoom").addEventListener("input", (event) => zoomTo(Number(event.target.value)));
  byId("zoom-reset").addEventListener("click", () => zoomTo(1));
  byId("heat").addEventListener("change", showHeat);
  byId("heat-scale").addEventListener("change", showHeat);
  showSet();
  prefer(byId("tokenizer"));
  showPair();
  cut(50);
  showHeat();

  // Thumbnails of the section below lead here.
  return (group, position, tokenizer) => {
    byId("set").value = DATA.sets.findIndex((one) => one.group === group);
    showSet();
    byId("photo").value = position;
    showPhoto();
    byId("first").value = "";
    compareWith(tokenizer);
  };
}

const openInGallery = DATA.sets.length ? startGallery() : null;

function startExtremes() {
  const [group, metric, tokenizer] = ["group", "metric", "tokenizer"].map((one) => byId(`extremes-${one}`));
  const distinct = (key, list) => [...new Set(list.map((one) => one[key]))];
  const inGroup = () => DATA.extremes.filter((one) => one.group === Number(group.value));
  const inMetric = () => inGroup().filter((one) => one.metric === metric.value);

  function item(one, { image, score, difference, photo }) {
    const node = make("li", {});
    if (photo !== null && openInGallery) {
      const saved = DATA.sets.find((set) => set.group === one.group).photos[photo];
      const addresses = [saved.reference, saved.reconstructions[one.crops]].filter(Boolean);
      const button = make("button", { type: "button", class: "thumb", "aria-label": `Show ${image} in the gallery` });
      button.append(...addresses.map((src) => make("img", { src, alt: "", loading: "lazy" })));
      button.addEventListener("click", () => openInGallery(one.group, photo, one.crops));
      if (addresses.length === 2) node.append(button);
    }
    node.append(make("span", { class: "id" }, image), ` ${show(score, one.metric)} `);
    if (difference !== null) {
      node.append(make("span", { class: "soft" }, `(${difference < 0 ? "−" : "+"}${show(Math.abs(difference), one.metric)})`));
    }
    return node;
  }

  function showOne() {
    const one = inMetric().find((each) => each.tokenizer === tokenizer.value);
    const lists = ["best", "worst"].flatMap((word) => [
      make("h3", {}, word === "best" ? "Best" : "Worst"),
      make("ol", { class: "extreme" }, ...one[word].map((each) => item(one, each))),
    ]);
    byId("extremes-list").replaceChildren(...lists);
  }
  function showMetric() {
    const old = tokenizer.value;
    const names = distinct("tokenizer", inMetric());
    fill(tokenizer, names.map((name) => [name, name]));
    if (names.includes(old)) tokenizer.value = old;
    else prefer(tokenizer);
    showOne();
  }
  function showGroup() {
    fill(metric, distinct("metric", inGroup()).map((key) => [key, DATA.metrics[key].name]));
    showMetric();
  }
  group.addEventListener("change", showGroup);
  metric.addEventListener("change", showMetric);
  tokenizer.addEventListener("change", showOne);
  fill(group, distinct("group", DATA.extremes).map((index) => [index, DATA.groups[index]]));
  showGroup();
}

if (DATA.extremes.length) startExtremes();
