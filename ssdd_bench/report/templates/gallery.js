"use strict";
// The gallery: a slider over one pair, all tokenizers at one zoom, error maps, best and worst.
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
        const text = make("td", { class: "number" }, show(value));
        if (rank) text.append(make("span", { class: "soft" }, ` (${rank})`));
        row.append(text);
      }
      return row;
    });
    byId("photo-scores").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  function showPair() {
    const name = byId("tokenizer").value;
    byId("before").src = photo().reference;
    byId("after").src = photo().reconstructions[name];
    byId("before").alt = `${photo().name}, reference`;
    byId("after").alt = `${photo().name}, reconstructed by ${name}`;
    byId("after-name").textContent = name;
    byId("compare-caption").textContent = `${photo().name}, ${name}`;
    for (const row of byId("photo-scores").querySelectorAll("tbody tr")) {
      row.setAttribute("aria-selected", String(row.dataset.name === name));
    }
  }

  function cut(share) {
    byId("cut").value = share;
    stage.style.setProperty("--cut", `${share}%`);
  }

  function showSet() {
    fill(byId("photo"), current().photos.map((one, index) => [index, one.name]));
    fill(byId("tokenizer"), Object.keys(current().photos[0].reconstructions).map((name) => [name, name]));
    showPhoto();
  }

  function showPhoto() {
    showScores();
    showPair();
    showTiles();
  }

  function showTiles() {
    const one = photo();
    const tiles = [["reference", one.reference], ...Object.entries(one.reconstructions)].map(([name, uri]) => {
      const image = make("img", { src: uri, alt: `${one.name}, ${name}`, draggable: "false" });
      const box = make("div", { class: "window", tabindex: 0, role: "group", "aria-label": `${name}: zoom and move` });
      box.append(image);
      const caption = make("figcaption", {}, make("strong", {}, name));
      const tile = make("figure", { class: "tile", "data-name": name }, box, caption);
      listen(box);
      return tile;
    });
    byId("tiles").replaceChildren(...tiles);
    showHeat();
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

  // Dark to light through colours of rising lightness, so that it reads in grey as well.
  const STOPS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [255, 255, 230]];
  function colorAt(share) {
    const place = Math.min(0.9999, Math.max(0, share)) * (STOPS.length - 1);
    const index = Math.floor(place);
    return STOPS[index].map((from, i) => from + (STOPS[index + 1][i] - from) * (place - index));
  }

  async function pixelsOf(uri) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  let drawing = 0; // only the latest request may show its maps
  async function showHeat() {
    const mine = ++drawing;
    for (const old of document.querySelectorAll(".tile canvas, .tile .mean")) old.remove();
    if (!byId("heat").checked) return;
    const one = photo();
    const full = Number(byId("heat-scale").value);
    const reference = await pixelsOf(one.reference);
    for (const [name, uri] of Object.entries(one.reconstructions)) {
      const other = await pixelsOf(uri);
      if (mine !== drawing) return;
      const tile = [...document.querySelectorAll(".tile")].find((node) => node.dataset.name === name);
      const map = make("canvas", { width: other.width, height: other.height, role: "img", "aria-label": `error of ${name}` });
      const context = map.getContext("2d");
      const image = context.createImageData(other.width, other.height);
      let sum = 0;
      for (let i = 0; i < image.data.length; i += 4) {
        let error = 0;
        for (let c = 0; c < 3; c++) error += Math.abs(reference.data[i + c] - other.data[i + c]) / 3;
        sum += error;
        image.data.set([...colorAt(error / full), 255], i);
      }
      context.putImageData(image, 0, 0);
      tile.querySelector(".window").append(map);
      const mean = (sum / (other.width * other.height)).toFixed(2);
      tile.querySelector("figcaption").append(make("span", { class: "soft mean" }, ` mean error ${mean} levels`));
    }
    showZoom();
  }

  const bar = byId("heat-bar").getContext("2d");
  for (let x = 0; x < 120; x++) {
    bar.fillStyle = `rgb(${colorAt(x / 119).map(Math.round).join(" ")})`;
    bar.fillRect(x, 0, 1, 12);
  }

  fill(byId("set"), DATA.sets.map((one, index) => [index, one.title]));
  byId("set").addEventListener("change", showSet);
  byId("photo").addEventListener("change", showPhoto);
  byId("tokenizer").addEventListener("change", showPair);
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
  cut(50);

  // Thumbnails of the section below lead here.
  for (const button of document.querySelectorAll(".thumb")) {
    const { group, tokenizer } = button.closest(".extreme").dataset;
    const index = DATA.sets.findIndex((one) => String(one.group) === group);
    const one = DATA.sets[index].photos[button.dataset.photo];
    for (const uri of [one.reference, one.reconstructions[tokenizer]]) {
      if (uri) button.append(make("img", { src: uri, alt: "" }));
    }
    button.addEventListener("click", () => {
      byId("set").value = index;
      showSet();
      byId("photo").value = button.dataset.photo;
      byId("tokenizer").value = tokenizer;
      showPhoto();
      byId("gallery").scrollIntoView();
      byId("cut").focus({ preventScroll: true });
    });
  }
}

if (DATA.sets.length) startGallery();

const extremesMetric = byId("extremes-metric");
if (extremesMetric) {
  const blocks = [...document.querySelectorAll(".extreme")];
  const keys = [...new Set(blocks.map((block) => block.dataset.metric))];
  fill(extremesMetric, keys.map((key) => [key, DATA.metrics[key].name]));
  const showMetric = () => {
    for (const block of blocks) block.hidden = block.dataset.metric !== extremesMetric.value;
  };
  extremesMetric.addEventListener("change", showMetric);
  showMetric();
}
