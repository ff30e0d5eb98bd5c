// The curves of the searches: accuracy of the best architecture so far, against the budget.
(() => {
  const charts = byId("charts");
  if (!charts) return;
  const DASHES = ["", "7 3", "2 3", "10 3 2 3"];
  const view = { axis: payload.axes[0], scale: "linear", band: "mean", hidden: new Set() };
  const BANDS = { mean: ["mean", "low", "high"], median: ["median", "q25", "q75"] };
  const AXES = {
    seconds: { label: `${payload.costs.toLowerCase()}, seconds`, unit: " s" },
    queries: { label: "queries", unit: " queries" },
  };

  const color = (method) => `var(--c${method % COLORS})`;
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

  const value = (number) => (Number.isNaN(number) ? "–" : number.toFixed(2).replace("-", "−"));
  const suffix = payload.unit ? ` ${payload.unit}` : "";
  const yName = () => (isRegret() ? "regret" : "error");
  const path = (points) => (points.length ? `M${points.map((point) => point.join(" ")).join("L")}` : "");

  class BudgetPlot extends LinePlot {
    constructor(panel) {
      super(panel.metric, element("span", {}, `searched on ${panel.searched}`));
      this.panel = panel;
    }

    get stride() {
      return 0.02;
    }

    draw() {
      this.ylabel.textContent = `↑ ${yName()}${suffix && `,${suffix}`}${view.scale === "log" ? ", both axes logarithmic" : ""}`;
      this.xlabel.textContent = `${AXES[view.axis].label} →`;
      super.draw();
    }

    domain() {
      return axesOf(this.panel);
    }

    describe() {
      const last = (series) => { let k = series.at.length - 1; while (k > 0 && !known(series, k)) k--; return loss(this.panel, series[view.band][k]); };
      const ends = this.panel.series[view.axis].map((series) => `${payload.methods[series.method]} ${value(last(series))}`);
      return `${yName()} of ${this.panel.metric} against ${AXES[view.axis].label}. At the end: ${ends.join(", ")}.`;
    }

    lines() {
      const { panel } = this, found = [];
      if (panel.limit && panel.limit.axis === view.axis) {
        const x = this.across(panel.limit.at), left = x > this.width / 2; // the side of the line where there is room
        found.push(this.upright(panel.limit.at, "limit"), drawn("text", { x: left ? x - 5 : x + 5, y: 16, "text-anchor": left ? "end" : "start" }, "compared here"));
      }
      found.push(...shown(panel).map((series) => this.line(series)));
      if (view.scale !== "log") {
        const optimum = loss(panel, panel.optimum), y = this.upwards(optimum);
        found.push(drawn("line", { class: "optimum", x1: 0, x2: this.width, y1: y, y2: y }));
        found.push(drawn("text", { x: 8, y: y - 6 }, `optimum ${value(optimum)}${suffix}`));
      }
      return found;
    }

    line(series) {
      const [line, lower, upper] = BANDS[view.band], style = `color:${color(series.method)}`;
      const group = drawn("g", { class: "series", style, "data-method": series.method });
      const band = [...this.corners(series, lower), ...this.corners(series, upper).reverse()];
      if (band.length > 2) group.append(drawn("path", { class: "band", d: `${path(band)}Z`, fill: "currentColor" }));
      const points = this.corners(series, line);
      if (points.length === 1) group.append(drawn("circle", { cx: points[0][0], cy: points[0][1], r: 4, fill: "currentColor" }));
      group.append(drawn("path", { class: "line", d: path(points), stroke: "currentColor", "stroke-dasharray": dash(series.method) }));
      return group;
    }

    // A value holds until the next budget: steps, as two rows of corners.
    corners(series, name) {
      const found = [];
      let before = null;
      for (let k = 0; k < series.at.length; k++) {
        const value = loss(this.panel, series[name][k]);
        if (Number.isNaN(value)) continue;
        const x = this.across(series.at[k]).toFixed(1), y = this.upwards(value).toFixed(1);
        if (before !== null && before !== y) found.push([x, before]);
        if (before !== y || k === series.at.length - 1) found.push([x, y]);
        before = y;
      }
      return found;
    }

    reading(budget) {
      const [line, lower, upper] = BANDS[view.band], rows = [];
      for (const series of shown(this.panel)) {
        let k = -1;
        while (k + 1 < series.at.length && series.at[k + 1] <= budget * (1 + 1e-6)) k++;
        if (k < 0 || !known(series, k)) continue;
        const [best, worst, y] = [upper, lower, line].map((name) => loss(this.panel, series[name][k]));
        const text = `${value(y)}${Number.isNaN(best) ? "" : ` (${value(best)} – ${value(worst)})`}`;
        rows.push({ y, color: color(series.method), name: payload.methods[series.method], text });
      }
      const spent = format(view.axis === "queries" ? Math.floor(budget) : budget);
      const head = `${spent}${AXES[view.axis].unit}: ${yName()}${suffix && `,${suffix}`}`;
      return { at: budget, head, rows: rows.sort((a, b) => a.y - b.y) };
    }
  }

  // ---- wiring -----------------------------------------------------------------------------------------------------
  const plots = panels.map((panel) => new BudgetPlot(panel));

  function draw() {
    plots.forEach((plot) => plot.draw());
    const cut = view.scale === "log"
      ? "Regret is the distance to the table's optimum; what sits on the lower edge has reached it."
      : "The vertical axes begin at the table's optimum; the steep first 6 % of the budget may lie above them.";
    byId("count").textContent = cut;
  }

  payload.methods.forEach((name, method) => {
    const button = element("button", { type: "button", "aria-pressed": "true" }, lineSample(color(method), dash(method)), name);
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
  showPlots(charts, plots);
  draw();
})();
