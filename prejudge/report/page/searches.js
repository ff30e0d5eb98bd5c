// The curves of the searches: accuracy of the best architecture so far, against the budget.
(() => {
  const charts = byId("charts");
  if (!charts) return;
  const COLOURS = 8, DASHES = ["", "7 3", "2 3", "10 3 2 3"];
  const INSET = 8; // pixels kept free at the edges of a plot, so that no line is cut
  const view = { axis: payload.axes[0], scale: "linear", band: "mean", hidden: new Set() };
  const BANDS = { mean: ["mean", "low", "high"], median: ["median", "q25", "q75"] };
  const AXES = {
    seconds: { label: `${payload.costs.toLowerCase()}, seconds`, unit: " s" },
    queries: { label: "queries", unit: " queries" },
  };

  const SVG = "http://www.w3.org/2000/svg";
  function drawn(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const colour = (method) => `var(--c${method % COLOURS})`;
  const dash = (method) => DASHES[method % DASHES.length];

  const numbers = (text) => new Float32Array(bytes(text).buffer);
  const decode = ({ method, ...columns }) => ({ method, ...Object.fromEntries(Object.entries(columns).map(([name, text]) => [name, numbers(text)])) });
  const panels = payload.panels.map((panel) => ({
    ...panel,
    series: Object.fromEntries(payload.axes.map((axis) => [axis, panel.series[axis].map(decode)])),
  }));

  // ---- what is drawn ----------------------------------------------------------------------------------------------
  const isRegret = () => view.scale === "log" || payload.perfect === null;
  const loss = (panel, accuracy) => (isRegret() ? panel.optimum : payload.perfect) - accuracy;
  const shown = (panel) => panel.series[view.axis].filter((series) => !view.hidden.has(series.method));
  const known = (series, k) => !Number.isNaN(series[view.band][k]);

  function axesOf(panel) {
    const all = panel.series[view.axis];
    let start = Infinity, stop = 0;
    for (const series of all)
      for (let k = 0; k < series.at.length; k++) if (known(series, k)) { start = Math.min(start, series.at[k]); stop = Math.max(stop, series.at[k]); }
    if (!(stop > 0)) return null;
    const log = view.scale === "log";
    const x = log && start > 0 && start < stop ? { kind: "log", low: start, high: stop, linear: 1 } : { kind: "linear", low: log ? start : 0, high: stop, linear: 1 };
    const [line, , upper] = BANDS[view.band], lower = BANDS[view.band][1];
    // The steep beginning would squeeze the rest, where methods differ, into the lowest pixels: the linear axis is cut there.
    let low = Infinity, high = -Infinity;
    for (const series of shown(panel))
      for (let k = 0; k < series.at.length; k++) {
        if (!known(series, k)) continue;
        const next = k + 1 < series.at.length ? series.at[k + 1] : stop;
        if (!log && next < 0.06 * stop && series.at[series.at.length - 1] > 0.06 * stop) continue;
        for (const name of [line, lower, upper]) {
          const value = loss(panel, series[name][k]);
          if (Number.isNaN(value)) continue;
          high = Math.max(high, value);
          if (!log || value > 1e-6) low = Math.min(low, value);
        }
      }
    if (!log) {
      const optimum = loss(panel, panel.optimum);
      if (!(high > optimum)) high = optimum + 1;
      return { x, y: { kind: "linear", low: optimum, high: high + 0.02 * (high - optimum), linear: 1 } };
    }
    if (!(low < Infinity)) [low, high] = [0.01, 1];
    return { x, y: { kind: "log", low: Math.max(low / 1.15, high / 1e4), high: Math.max(high, low * 1.3) * 1.1, linear: 1 } };
  }

  const at = (axis, value) => position(axis, axis.kind === "log" ? Math.max(value, axis.low) : value);
  const across = (axes, value, width) => INSET + at(axes.x, value) * (width - 2 * INSET);
  const upwards = (axes, value, height) => height - INSET - at(axes.y, value) * (height - 2 * INSET);

  // A value holds until the next budget: steps, as two rows of corners.
  function corners(chart, series, name) {
    const { axes, panel, width, height } = chart, found = [];
    let before = null;
    for (let k = 0; k < series.at.length; k++) {
      const value = loss(panel, series[name][k]);
      if (Number.isNaN(value)) continue;
      const x = across(axes, series.at[k], width).toFixed(1), y = upwards(axes, value, height).toFixed(1);
      if (before !== null && before !== y) found.push([x, before]);
      if (before !== y || k === series.at.length - 1) found.push([x, y]);
      before = y;
    }
    return found;
  }
  const path = (points) => (points.length ? `M${points.map((point) => point.join(" ")).join("L")}` : "");

  function seriesNode(chart, series) {
    const [line, lower, upper] = BANDS[view.band], style = `color:${colour(series.method)}`;
    const group = drawn("g", { class: "series", style, "data-method": series.method });
    const band = [...corners(chart, series, lower), ...corners(chart, series, upper).reverse()];
    if (band.length > 2) group.append(drawn("path", { class: "band", d: `${path(band)}Z`, fill: "currentColor" }));
    const points = corners(chart, series, line);
    if (points.length === 1) group.append(drawn("circle", { cx: points[0][0], cy: points[0][1], r: 4, fill: "currentColor" }));
    group.append(drawn("path", { class: "line", d: path(points), stroke: "currentColor", "stroke-dasharray": dash(series.method) }));
    return group;
  }

  function summary(panel) {
    const last = (series) => { let k = series.at.length - 1; while (k > 0 && !known(series, k)) k--; return loss(panel, series[view.band][k]); };
    const ends = panel.series[view.axis].map((series) => `${payload.methods[series.method]} ${value(last(series))}`);
    return `${yName()} of ${panel.metric} against ${AXES[view.axis].label}. At the end: ${ends.join(", ")}.`;
  }

  const value = (number) => (Number.isNaN(number) ? "–" : number.toFixed(2).replace("-", "−"));
  const suffix = payload.unit ? ` ${payload.unit}` : "";
  const yName = () => (isRegret() ? "regret" : "error");

  function makeChart(panel) {
    const chart = { panel, axes: null, width: 0, height: 0, at: null };
    const part = (tag, name) => (chart[name] = element(tag, { class: name }));
    const title = element("figcaption", {}, panel.metric, element("span", {}, `searched on ${panel.searched}`));
    chart.svg = drawn("svg", { "aria-hidden": "true" });
    chart.field = element("div", { class: "field", tabindex: "0", role: "img" }, chart.svg);
    chart.node = element("figure", { class: "chart" }, title, part("div", "ylabel"), part("div", "yticks"), chart.field, part("div", "xticks"), part("div", "xlabel"));
    chart.field.addEventListener("pointermove", (event) => { const box = chart.field.getBoundingClientRect(); read(chart, (event.clientX - box.left - INSET) / (box.width - 2 * INSET), event); });
    chart.field.addEventListener("pointerdown", (event) => chart.field.dispatchEvent(new PointerEvent("pointermove", event)));
    chart.field.addEventListener("pointerleave", () => unread(chart));
    chart.field.addEventListener("blur", () => unread(chart));
    chart.field.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 0.02, ArrowLeft: -0.02 }[event.key];
      if (event.key === "Escape") unread(chart);
      if (!step) return;
      event.preventDefault();
      read(chart, Math.min(1, Math.max(0, (chart.at ?? (step > 0 ? -0.02 : 1.02)) + step)));
    });
    return chart;
  }

  function drawChart(chart) {
    const { panel, field, svg } = chart;
    chart.width = field.clientWidth;
    chart.height = field.clientHeight;
    if (!chart.width || !chart.height) return;
    unread(chart);
    chart.axes = axesOf(panel);
    svg.setAttribute("viewBox", `0 0 ${chart.width} ${chart.height}`);
    svg.replaceChildren();
    chart.xticks.replaceChildren();
    chart.labels = [];
    chart.yticks.replaceChildren();
    for (const line of field.querySelectorAll(".grid")) line.remove();
    field.setAttribute("aria-label", summary(panel));
    chart.ylabel.textContent = `↑ ${yName()}${suffix && `,${suffix}`}${view.scale === "log" ? ", both axes logarithmic" : ""}`;
    chart.xlabel.textContent = `${AXES[view.axis].label} →`;
    if (!chart.axes) return;
    const { axes, width, height } = chart;
    for (const tick of ticks(axes.x, Math.max(3, Math.round(width / 72)))) mark(chart, "x", tick, across(axes, tick, width));
    for (const tick of ticks(axes.y, Math.max(3, Math.round(height / 34)))) mark(chart, "y", tick, upwards(axes, tick, height));
    if (panel.limit && panel.limit.axis === view.axis) {
      const x = across(axes, panel.limit.at, width);
      svg.append(drawn("line", { class: "limit", x1: x, x2: x, y1: 0, y2: height }));
      const left = x > width / 2; // the side of the line where there is room
      svg.append(drawn("text", { x: left ? x - 5 : x + 5, y: 16, "text-anchor": left ? "end" : "start" }, "compared here"));
    }
    svg.append(...shown(panel).map((series) => seriesNode(chart, series)));
    if (view.scale !== "log") {
      const y = upwards(axes, loss(panel, panel.optimum), height);
      svg.append(drawn("line", { class: "optimum", x1: 0, x2: width, y1: y, y2: y }));
      svg.append(drawn("text", { x: 8, y: y - 6 }, `optimum ${value(loss(panel, panel.optimum))}${suffix}`));
    }
  }

  function mark(chart, kind, tick, pixels) {
    const size = kind === "x" ? chart.width : chart.height;
    if (pixels < 0 || pixels > size) return;
    const line = element("i", { class: `grid ${kind}` }), label = element("i", {}, format(tick));
    line.style[kind === "x" ? "left" : "top"] = `${pixels}px`;
    label.style[kind === "x" ? "left" : "top"] = `${pixels}px`;
    chart.field.prepend(line);
    chart[`${kind}ticks`].append(label);
    if (kind !== "x") return;
    const half = label.offsetWidth / 2, middle = Math.min(pixels, size - half); // the last label stays inside
    label.style.left = `${middle}px`;
    const crowded = chart.labels.some((other) => Math.abs(other.middle - middle) < other.half + half + 6);
    if (crowded) label.remove();
    else chart.labels.push({ middle, half });
  }

  // ---- reading a plot ---------------------------------------------------------------------------------------------
  function unread(chart) {
    chart.at = null;
    tip.hidden = true;
    chart.svg.querySelector(".reading")?.remove();
  }

  function read(chart, share, event) {
    if (!chart.axes) return;
    const { panel, axes, width, height } = chart;
    unread(chart);
    chart.at = Math.min(1, Math.max(0, share));
    const budget = valueAt(axes.x, chart.at), x = across(axes, budget, width);
    const marks = drawn("g", { class: "reading" }, drawn("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: height }));
    const [line, lower, upper] = BANDS[view.band], rows = [];
    for (const series of shown(panel)) {
      let k = -1;
      while (k + 1 < series.at.length && series.at[k + 1] <= budget * (1 + 1e-6)) k++;
      if (k < 0 || !known(series, k)) continue;
      const [best, worst, middle] = [upper, lower, line].map((name) => loss(panel, series[name][k]));
      rows.push([middle, series.method, `${value(middle)}${Number.isNaN(best) ? "" : ` (${value(best)} – ${value(worst)})`}`]);
      marks.append(drawn("circle", { class: "dot", r: 4, cx: x, cy: upwards(axes, middle, height), fill: colour(series.method) }));
    }
    chart.svg.append(marks);
    rows.sort((a, b) => a[0] - b[0]);
    const box = chart.field.getBoundingClientRect();
    const reading = element("div", { class: "reading" }, ...rows.flatMap(([, method, text]) => [element("span", {}, element("i", { style: `background:${colour(method)}` }), payload.methods[method]), element("span", {}, text)]));
    const head = `${format(view.axis === "queries" ? Math.floor(budget) : budget)}${AXES[view.axis].unit}: ${yName()}${suffix && `,${suffix}`}`;
    showTip(event?.clientX ?? box.left + x, event?.clientY ?? box.top + 30, element("b", {}, head), reading);
  }

  // ---- wiring -----------------------------------------------------------------------------------------------------
  const all = panels.map(makeChart);
  charts.append(...all.map((chart) => chart.node));

  function draw() {
    all.forEach(drawChart);
    const cut = view.scale === "log"
      ? "Regret is the distance to the table's optimum; what sits on the lower edge has reached it."
      : "The vertical axes begin at the table's optimum; the steep first 6 % of the budget may lie above them.";
    byId("count").textContent = cut;
  }

  payload.methods.forEach((name, method) => {
    const sample = drawn("svg", { width: 26, height: 10, "aria-hidden": "true" }, drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: colour(method), "stroke-width": 2.5, "stroke-dasharray": dash(method) }));
    const button = element("button", { type: "button", "aria-pressed": "true" }, sample, name);
    button.addEventListener("click", () => {
      const hide = !view.hidden.delete(method);
      if (hide) view.hidden.add(method);
      button.setAttribute("aria-pressed", String(!hide));
      point(null);
      draw();
    });
    for (const [event, whom] of [["pointerenter", method], ["focus", method], ["pointerleave", null], ["blur", null]]) button.addEventListener(event, () => point(whom));
    byId("names").append(button);
  });

  function point(method) {
    const on = method !== null && !view.hidden.has(method);
    charts.classList.toggle("pointed", on);
    for (const node of charts.querySelectorAll(".series")) node.classList.toggle("on", on && +node.dataset.method === method);
  }

  if (payload.axes.length > 1)
    for (const axis of payload.axes) {
      const text = axis === "seconds" ? payload.costs : "Queries";
      byId("axis").append(element("label", {}, element("input", { type: "radio", name: "axis", value: axis, ...(axis === view.axis ? { checked: "" } : {}) }), element("span", {}, text)));
    }
  else byId("axis").hidden = true;
  for (const name of ["axis", "scale", "band"])
    for (const input of byId(name).querySelectorAll("input")) {
      input.checked = input.value === view[name]; // a reload may have kept another choice in the form
      input.addEventListener("change", () => { view[name] = input.value; draw(); });
    }
  document.querySelector(".toolbar").hidden = false;
  document.documentElement.classList.add("live");
  draw();

  let pending = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => all.filter((chart) => chart.width !== chart.field.clientWidth || chart.height !== chart.field.clientHeight).forEach(drawChart));
  }).observe(charts);
})();
