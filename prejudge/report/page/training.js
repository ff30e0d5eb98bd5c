// The curves of trainings: loss, accuracies and learning rate after each epoch.
(() => {
  const COLOURS = 8, DASHES = { train: "", valid: "7 3", test: "2 3", "learning rate": "" };
  const INSET = 8; // pixels kept free at the edges of a plot, so that no line is cut
  const several = payload.trainings.length > 1;
  const KINDS = ["train", "valid", "test", "learning rate"];
  const charts = byId("charts");
  if (!payload.charts.length) return;

  const SVG = "http://www.w3.org/2000/svg";
  function drawn(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  // One training: a colour for each kind of images. Several: a colour for each training, a dash for each kind.
  const colour = (series) => `var(--c${(several ? series.training : KINDS.indexOf(series.images) % 3) % COLOURS})`;
  const dash = (series) => (several ? DASHES[series.images] : "");
  const label = (series) => (several ? `${payload.trainings[series.training]}, ${series.images}` : series.images);

  function axesOf({ series, scale }) {
    let last = 1, low = Infinity, high = -Infinity;
    for (const one of series)
      one.values.forEach((value, k) => {
        if (value === null) return;
        last = Math.max(last, one.at[k]);
        low = Math.min(low, value);
        high = Math.max(high, value);
      });
    const kind = scale === "log" && low > 0 ? "log" : "linear";
    if (!(high > low)) [low, high] = kind === "log" ? [low / 1.5, high * 1.5] : [low - 1, high + 1];
    const room = 0.04 * (high - low);
    const y = kind === "log" ? { kind, low: low / 1.06, high: high * 1.06, linear: 1 } : { kind, low: low - room, high: high + room, linear: 1 };
    return { x: { kind: "linear", low: last > 1 ? 1 : 0, high: last > 1 ? last : 2, linear: 1 }, y };
  }
  const across = (axes, value, width) => INSET + position(axes.x, value) * (width - 2 * INSET);
  const upwards = (axes, value, height) => height - INSET - position(axes.y, value) * (height - 2 * INSET);
  const text = (content, value) => `${content.unit === "%" ? value.toFixed(2) : format(value)}${content.unit && ` ${content.unit}`}`;

  function seriesNode(chart, one) {
    const { axes, width, height } = chart, parts = [];
    let pen = "M";
    one.values.forEach((value, k) => {
      if (value === null) return void (pen = "M");
      parts.push(`${pen}${across(axes, one.at[k], width).toFixed(1)} ${upwards(axes, value, height).toFixed(1)}`);
      pen = "L";
    });
    const group = drawn("g", { style: `color:${colour(one)}` });
    group.append(drawn("path", { class: "line", d: parts.join(""), stroke: "currentColor", "stroke-dasharray": dash(one) }));
    if (one.values.filter((value) => value !== null).length === 1) {
      const k = one.values.findIndex((value) => value !== null);
      group.append(drawn("circle", { cx: across(axes, one.at[k], width), cy: upwards(axes, one.values[k], height), r: 4, fill: "currentColor" }));
    }
    return group;
  }

  function makeChart(content) {
    const chart = { content, at: null };
    const part = (tag, name) => (chart[name] = element(tag, { class: name }));
    chart.svg = drawn("svg", { "aria-hidden": "true" });
    const ends = content.series.map((one) => `${label(one)} ${text(content, one.values.findLast((value) => value !== null))}`);
    chart.field = element("div", { class: "field", tabindex: "0", role: "img", "aria-label": `${content.title} against epochs. At the end: ${ends.join(", ")}.` }, chart.svg);
    const note = content.scale === "log" ? "logarithmic" : content.unit;
    chart.node = element("figure", { class: "chart" }, element("figcaption", {}, content.title, element("span", {}, note)), part("div", "yticks"), chart.field, part("div", "xticks"), element("div", { class: "xlabel" }, "epochs →"));
    chart.field.addEventListener("pointermove", (event) => { const box = chart.field.getBoundingClientRect(); read(chart, (event.clientX - box.left - INSET) / (box.width - 2 * INSET), event); });
    chart.field.addEventListener("pointerdown", (event) => chart.field.dispatchEvent(new PointerEvent("pointermove", event)));
    chart.field.addEventListener("pointerleave", () => unread(chart));
    chart.field.addEventListener("blur", () => unread(chart));
    chart.field.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") unread(chart);
      if (!step) return;
      event.preventDefault();
      const epochs = Math.max(1, chart.axes.x.high - chart.axes.x.low);
      read(chart, Math.min(1, Math.max(0, (chart.at ?? (step > 0 ? -1 / epochs : 1 + 1 / epochs)) + step / epochs)));
    });
    return chart;
  }

  function draw(chart) {
    const { content, field, svg } = chart;
    chart.width = field.clientWidth;
    chart.height = field.clientHeight;
    if (!chart.width || !chart.height) return;
    unread(chart);
    const axes = (chart.axes = axesOf(content)), { width, height } = chart;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    chart.xticks.replaceChildren();
    chart.yticks.replaceChildren();
    for (const line of field.querySelectorAll(".grid")) line.remove();
    for (const tick of ticks(axes.x, Math.max(3, Math.round(width / 80)))) if (Number.isInteger(tick)) mark(chart, "x", tick, across(axes, tick, width));
    for (const tick of ticks(axes.y, Math.max(3, Math.round(height / 40)))) mark(chart, "y", tick, upwards(axes, tick, height));
    for (const epoch of new Set(content.series.map((one) => one.selected))) {
      const x = across(axes, epoch, width);
      svg.append(drawn("line", { class: "selected", x1: x, x2: x, y1: 0, y2: height }));
    }
    svg.append(...content.series.map((one) => seriesNode(chart, one)));
  }

  function mark(chart, kind, tick, pixels) {
    const size = kind === "x" ? chart.width : chart.height;
    if (pixels < 0 || pixels > size) return;
    const line = element("i", { class: `grid ${kind}` }), name = element("i", {}, format(tick));
    line.style[kind === "x" ? "left" : "top"] = `${pixels}px`;
    name.style[kind === "x" ? "left" : "top"] = `${pixels}px`;
    chart.field.prepend(line);
    chart[`${kind}ticks`].append(name);
    if (kind === "x") name.style.left = `${Math.min(pixels, size - name.offsetWidth / 2)}px`; // the last one stays inside
  }

  function unread(chart) {
    chart.at = null;
    tip.hidden = true;
    chart.svg.querySelector(".reading")?.remove();
  }

  function read(chart, share, event) {
    if (!chart.axes) return;
    const { content, axes, width, height } = chart;
    unread(chart);
    chart.at = Math.min(1, Math.max(0, share));
    const wanted = Math.round(valueAt(axes.x, chart.at));
    const known = content.series.flatMap((one) => one.at);
    const epoch = known.reduce((best, at) => (Math.abs(at - wanted) < Math.abs(best - wanted) ? at : best), known[0]);
    const x = across(axes, epoch, width);
    const marks = drawn("g", { class: "reading" }, drawn("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: height })), rows = [];
    for (const one of content.series) {
      const value = one.values[one.at.indexOf(epoch)] ?? null;
      if (value === null) continue;
      rows.push([one, value]);
      marks.append(drawn("circle", { class: "dot", r: 4, cx: x, cy: upwards(axes, value, height), fill: colour(one) }));
    }
    chart.svg.append(marks);
    const box = chart.field.getBoundingClientRect();
    const reading = element("div", { class: "reading" }, ...rows.flatMap(([one, value]) => [element("span", {}, element("i", { style: `background:${colour(one)}` }), label(one)), element("span", {}, text(content, value))]));
    showTip(event?.clientX ?? box.left + x, event?.clientY ?? box.top + 30, element("b", {}, `epoch ${epoch}`), reading);
  }

  const all = payload.charts.map(makeChart);
  charts.append(...all.map((chart) => chart.node));
  const named = new Map();
  for (const { series } of payload.charts) for (const one of series) if (one.images !== "learning rate") named.set(label(one), one);
  for (const [name, one] of named) {
    const sample = drawn("svg", { width: 26, height: 10, "aria-hidden": "true" }, drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: colour(one), "stroke-width": 2.5, "stroke-dasharray": dash(one) }));
    byId("names").append(element("span", {}, sample, name));
  }
  document.documentElement.classList.add("live");
  all.forEach(draw);

  let pending = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => all.filter((chart) => chart.width !== chart.field.clientWidth || chart.height !== chart.field.clientHeight).forEach(draw));
  }).observe(charts);
})();
