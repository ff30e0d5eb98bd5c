// Scatter plots: one dot is one architecture; every plot can be enlarged.
(() => {
  const MISSING = 65535, LEVELS = 65534;
  const { points, unit } = payload.scatter;
  const place = document.querySelector('[data-charts="scatter"]');
  const view = { plot: "score" };
  const metricNow = () => chosen[0];
  const rhoNow = () => new Map(Object.entries(payload.scatter.rho.find(([when]) => when.every((option, k) => option === chosen[k]))?.[1] ?? {}));

  // ---- decoding -------------------------------------------------------------------------------------------------
  const codes16 = (text) => new Uint16Array(bytes(text).buffer);

  function decodeNames({ words, templates, word_codes, word_bytes, template_codes }) {
    const WordArray = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[word_bytes];
    const wordCodes = new WordArray(bytes(word_codes).buffer);
    const templateCodes = codes16(template_codes);
    let next = 0;
    return Array.from({ length: points.shown }, (_, i) => {
      const [first, ...others] = templates[templates.length > 1 ? templateCodes[i] : 0];
      return others.reduce((text, piece) => text + words[wordCodes[next++]] + piece, first);
    });
  }

  const names = decodeNames(points.names);
  const outside = bytes(points.disconnected);
  const isOutside = (i) => (outside[i >> 3] >> (i & 7)) & 1;
  const decodeSeries = (series) => ({ ...series, codes: codes16(series.codes) });
  const proxies = points.proxies.map(decodeSeries);
  const metrics = new Map(points.metrics.map((series) => [series.name, decodeSeries(series)]));

  // ---- scatter plots --------------------------------------------------------------------------------------------
  const byRank = new Map();
  function ranks(series) {
    if (!byRank.has(series)) {
      const order = [...series.codes.keys()].filter((i) => series.codes[i] !== MISSING).sort((a, b) => series.codes[a] - series.codes[b]);
      const found = new Float32Array(points.shown).fill(NaN);
      for (let start = 0, end; start < order.length; start = end) {
        for (end = start + 1; end < order.length && series.codes[order[end]] === series.codes[order[start]]; end++);
        const shared = order.length > 1 ? (start + end - 1) / 2 / (order.length - 1) : 0.5;
        for (let k = start; k < end; k++) found[order[k]] = shared;
      }
      byRank.set(series, { at: found, axis: { kind: "linear", low: 1, high: Math.max(1, order.length), linear: 1 } });
    }
    return byRank.get(series);
  }

  // Where the vertical axis begins: a few untrainable cells at chance level must not squeeze all others into the top edge.
  function floorOf(metric) {
    const sorted = metric.codes.filter((code) => code !== MISSING).sort();
    const floor = sorted.length ? sorted[Math.floor(0.04 * sorted.length)] / LEVELS : 0;
    return metric.axis.kind === "linear" && floor > 0.25 && floor < 0.98 ? floor : 0;
  }

  // Coordinates in 0..1 with the axes that label them; NaN where a dot is not drawn.
  function layout(proxy) {
    const metric = metrics.get(metricNow());
    if (!metric) return null;
    if (view.plot === "rank") {
      const x = ranks(proxy), y = ranks(metric);
      return { x: x.at, y: y.at, xAxis: x.axis, yAxis: y.axis };
    }
    const coordinates = (series) => Float32Array.from(series.codes, (code) => (code === MISSING ? NaN : code / LEVELS));
    const x = coordinates(proxy), y = coordinates(metric);
    if (view.plot === "score") {
      const floor = floorOf(metric);
      const yAxis = floor > 0 ? { ...metric.axis, low: valueAt(metric.axis, floor) } : metric.axis;
      return { x, y: y.map((v) => Math.max(0, (v - floor) / (1 - floor))), xAxis: proxy.axis, yAxis };
    }
    const kept = ranks(metric).at;
    for (let i = 0; i < y.length; i++) if (!(kept[i] >= 0.5)) x[i] = y[i] = NaN;
    return { ...zoomed("x", x, y, proxy.axis), ...zoomed("y", y, x, metric.axis) };
  }

  function zoomed(name, at, other, axis) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < at.length; i++) if (at[i] === at[i] && other[i] === other[i]) { low = Math.min(low, at[i]); high = Math.max(high, at[i]); }
    if (!(high > low)) return { [name]: at, [`${name}Axis`]: axis };
    return { [name]: at.map((v) => (v - low) / (high - low)), [`${name}Axis`]: { ...axis, low: valueAt(axis, low), high: valueAt(axis, high) } };
  }

  const PAD = 0.035; // share of the field kept free on each side, so that no dot is cut
  const across = (x, size) => (PAD + x * (1 - 2 * PAD)) * size;
  const upwards = (y, size) => (1 - PAD - y * (1 - 2 * PAD)) * size;

  function color(name, context) {
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  }

  // The pixels of one dot with soft edges: offsets from its corner and their weights.
  function dotPixels(radius) {
    const size = Math.ceil(2 * radius + 1), middle = (size - 1) / 2, pixels = [];
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      const weight = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x - middle, y - middle)));
      if (weight) pixels.push([x - Math.floor(middle), y - Math.floor(middle), weight]);
    }
    return pixels;
  }

  // Tens of thousands of dots are counted into a grid of pixels first: far faster than one path each, and crowds stay legible.
  function drawField(field, plot, large) {
    const canvas = field.querySelector("canvas");
    const density = Math.min(3, window.devicePixelRatio || 1);
    const width = Math.round(field.clientWidth * density), height = Math.round(field.clientHeight * density);
    if (!width || !height) return;
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const [red, green, blue] = color("--blue", pen);
    const crowd = Math.max(1, Math.sqrt(points.shown / 400));
    const radius = Math.max(0.8, ((large ? 3.2 : 2) * density) / Math.min(2, Math.sqrt(crowd)));
    const opacity = Math.max(0.16, Math.min(0.75, (large ? 1.1 : 0.75) / crowd ** 0.8));
    const pixels = dotPixels(radius);
    const amount = new Float32Array(width * height);
    const rings = [];
    for (let i = 0; i < points.shown; i++) {
      if (!(plot.x[i] >= 0) || !(plot.y[i] >= 0)) continue;
      const x = Math.round(across(plot.x[i], width)), y = Math.round(upwards(plot.y[i], height));
      if (isOutside(i)) { rings.push([x, y]); continue; }
      for (const [dx, dy, weight] of pixels) amount[(y + dy) * width + x + dx] += weight;
    }
    const image = pen.createImageData(width, height);
    for (let k = 0; k < amount.length; k++) {
      if (!amount[k]) continue;
      image.data.set([red, green, blue, 255 * (1 - (1 - opacity) ** amount[k])], 4 * k);
    }
    pen.putImageData(image, 0, 0);
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--orange").trim();
    pen.lineWidth = 1.1 * density;
    pen.globalAlpha = Math.max(0.35, Math.min(0.9, 6 / Math.sqrt(rings.length || 1)));
    for (const [x, y] of rings) {
      pen.beginPath();
      pen.arc(x, y, radius + 0.4 * density, 0, 7);
      pen.stroke();
    }
  }

  function nearest(plot, field, event) {
    const box = field.getBoundingClientRect();
    let best = -1, distance = 16 ** 2;
    for (let i = 0; i < points.shown; i++) {
      const dx = across(plot.x[i], box.width) + box.left - event.clientX, dy = upwards(plot.y[i], box.height) + box.top - event.clientY;
      if (dx * dx + dy * dy < distance) { distance = dx * dx + dy * dy; best = i; }
    }
    return best;
  }

  const cards = [];
  const title = element("h2", { id: "enlarged-title" });
  const stage = element("div", { class: "stage" });
  const close = element("form", { method: "dialog" }, title, element("button", { class: "close", "aria-label": "Close" }, "×"));
  const dialog = element("dialog", { "aria-labelledby": "enlarged-title" }, close, stage);
  document.body.append(dialog);

  function ringAt(field, plot, i) {
    let ring = field.querySelector(".ring");
    if (!ring) field.append(ring = element("i", { class: "ring" }));
    ring.hidden = i < 0 || !plot || !(plot.x[i] >= 0) || !(plot.y[i] >= 0);
    if (ring.hidden) return;
    ring.style.left = `${across(plot.x[i], 100)}%`;
    ring.style.top = `${upwards(plot.y[i], 100)}%`;
  }

  function point(proxy, i, event) {
    for (const card of cards) ringAt(card.field, card.plot, i);
    tip.hidden = i < 0;
    if (i < 0) return;
    const metric = metrics.get(metricNow());
    const value = (series) => format(valueAt(series.axis, series.codes[i] / LEVELS));
    const state = isOutside(i) ? " · disconnected" : "";
    showTip(event.clientX, event.clientY, element("b", {}, names[i]), `${proxy.name} ${value(proxy)} · ${metricNow()} ${value(metric)}${unit === "%" ? " %" : ` ${unit}`}${state}`);
  }

  function watch(field, proxy, plotOf) {
    const move = (event) => {
      const plot = plotOf();
      const i = plot ? nearest(plot, field, event) : -1;
      point(proxy(), i, event);
      if (field.closest("dialog")) ringAt(field, plot, i);
    };
    field.addEventListener("pointermove", move);
    field.addEventListener("pointerdown", (event) => { if (field.closest("dialog")) move(event); });
    field.addEventListener("pointerleave", (event) => point(proxy(), -1, event));
  }

  function makeCard(proxy) {
    const card = { proxy, plot: null };
    card.field = element("div", { class: "field" }, element("canvas", { "aria-hidden": "true" }));
    card.rho = element("span", { class: "rho" });
    card.low = element("span");
    card.high = element("span");
    const title = element("span", { class: "title", title: proxy.name }, (proxy.higher ? "" : "↓ ") + proxy.name);
    card.node = element("button", { class: "multiple", type: "button", "aria-label": `Enlarge the plot of ${proxy.name}` },
      element("div", { class: "head" }, title, card.rho), card.field, element("div", { class: "ends" }, card.low, card.high));
    card.node.addEventListener("click", () => enlarge(card));
    watch(card.field, () => proxy, () => card.plot);
    return card;
  }

  function drawCards() {
    const rho = rhoNow();
    const quality = (card) => rho.get(card.proxy.name) ?? -2;
    cards.sort((a, b) => quality(b) - quality(a) || (a.proxy.name < b.proxy.name ? -1 : 1));
    const unmoved = cards.every((card, k) => place.children[k] === card.node);
    if (!unmoved) place.replaceChildren(...cards.map((card) => card.node));
    for (const card of cards) {
      const value = rho.get(card.proxy.name) ?? null;
      card.rho.textContent = value === null ? "" : `ρ ${value.toFixed(2).replace("-", "−")}`;
      card.plot = layout(card.proxy);
      if (!card.plot) continue;
      const prefix = view.plot === "rank" ? "rank " : "";
      card.low.textContent = prefix + format(card.plot.xAxis.low);
      card.high.textContent = prefix + format(card.plot.xAxis.high);
      drawField(card.field, card.plot, false);
    }
    place.parentNode.querySelector(".count").textContent = caption();
  }

  function caption() {
    const shown = points.shown.toLocaleString("en"), total = points.total.toLocaleString("en");
    const drawn = points.shown < points.total ? `A random sample of ${shown} of ${total} architectures is drawn` : `All ${total} architectures are drawn`;
    const plot = cards.length ? cards[0].plot : null;
    if (!plot) return "There are no accuracies to draw for this metric.";
    if (view.plot === "rank") return `${drawn}, by rank on both axes.`;
    const suffix = unit ? ` ${unit}` : "";
    const range = `vertical axis from ${format(plot.yAxis.low)} to ${format(plot.yAxis.high)}${suffix}`;
    if (view.plot === "half") return `The better half by accuracy is drawn; ${range}.`;
    return `${drawn}; ${range}${floorOf(metrics.get(metricNow())) > 0 ? ", the worst 4 % sit on the lower edge" : ""}.`;
  }

  // ---- the enlarged plot ----------------------------------------------------------------------------------------
  let open = null;
  const large = {
    ylabel: element("p", { class: "ylabel" }), yticks: element("div", { class: "yticks" }),
    field: element("div", { class: "field" }, element("canvas", { "aria-hidden": "true" })),
    xticks: element("div", { class: "xticks" }), xlabel: element("p", { class: "xlabel" }),
  };
  stage.append(...Object.values(large));
  watch(large.field, () => open.proxy, () => open && open.plot);

  function enlarge(card) {
    open = card;
    if (!dialog.open) { dialog.append(tip); dialog.showModal(); }
    point(card.proxy, -1);
    ringAt(large.field, null, -1);
    title.textContent = [card.proxy.name, card.rho.textContent].filter(Boolean).join(" · ");
    large.ylabel.textContent = view.plot === "rank" ? `↑ rank by ${metricNow()}` : `↑ ${metricNow()}${unit ? `, ${unit}` : ""}`;
    if (view.plot === "score" && card.plot && floorOf(metrics.get(metricNow())) > 0) large.ylabel.textContent += " (the worst 4 % sit on the lower edge)";
    const scale = { linear: "", log: ", logarithmic", symlog: ", logarithmic on both sides of 0" }[card.proxy.axis.kind];
    large.xlabel.textContent = (view.plot === "rank" ? `rank by ${card.proxy.name}` : card.proxy.name + scale) + (card.proxy.higher ? " →" : " (lower is meant to be better) →");
    large.xticks.replaceChildren();
    large.yticks.replaceChildren();
    for (const line of large.field.querySelectorAll(".grid")) line.remove();
    if (!card.plot) return;
    for (const value of ticks(card.plot.xAxis, innerWidth < 640 ? 5 : 8)) {
      const left = `${across(position(card.plot.xAxis, value), 100)}%`;
      large.xticks.append(element("i", {}, format(value)));
      large.xticks.lastChild.style.left = left;
      large.field.prepend(element("i", { class: "grid x" }));
      large.field.firstChild.style.left = left;
    }
    for (const value of ticks(card.plot.yAxis, 6)) {
      const top = `${upwards(position(card.plot.yAxis, value), 100)}%`;
      large.yticks.append(element("i", {}, format(value)));
      large.yticks.lastChild.style.top = top;
      large.field.prepend(element("i", { class: "grid y" }));
      large.field.firstChild.style.top = top;
    }
    drawField(large.field, card.plot, true);
  }

  dialog.addEventListener("close", () => { document.body.append(tip); tip.hidden = true; open = null; });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) enlarge(cards[(cards.indexOf(open) + step + cards.length) % cards.length]);
  });

  // ---- wiring ---------------------------------------------------------------------------------------------------
  onSegment(place, (_, option) => {
    view.plot = ["score", "half", "rank"][option];
    drawCards();
  });
  onChoice.push(drawCards);
  for (const proxy of proxies) cards.push(makeCard(proxy));
  drawCards();

  let pending = 0;
  const redraw = () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => {
      for (const card of cards) if (card.plot) drawField(card.field, card.plot, false);
      if (open) enlarge(open);
    });
  };
  new ResizeObserver(redraw).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
