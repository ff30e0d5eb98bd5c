// Line plots: fields with grid, ticks and lines that follow their size, and are read with the pointer or the arrow keys.
(() => {
  const COLORS = 8; // --c0 ... of page.css
  const INSET = 8; // pixels kept free at the edges of a plot, so that no line is cut
  const STEEP = 0.06; // of the budget: where steps begin so high that they would squeeze the rest
  const DASHES = ["", "7 3", "2 3", "10 3 2 3"];
  const SVG = "http://www.w3.org/2000/svg";
  const place = document.querySelector('[data-charts="lines"]');
  const { names, axes, scales, bands, steps, charts } = payload.lines;
  const view = { axis: 0, scale: 0, band: 0, hidden: new Set() };
  const scale = () => scales[view.scale];
  const band = () => bands[view.band];

  const color = (curve) => `var(--c${names[curve.name].color % COLORS})`;
  const dash = (curve) => DASHES[names[curve.name].dash % DASHES.length];
  const clamped = (share) => Math.min(1, Math.max(0, share));
  const path = (points) => (points.length ? `M${points.map((point) => point.join(" ")).join("L")}` : "");

  function decode({ name, ...columns }) {
    return { name, ...Object.fromEntries(Object.entries(columns).map(([key, text]) => [key, new Float32Array(bytes(text).buffer)])) };
  }

  function drawn(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // The piece of a line that stands beside its name.
  function lineSample(curve) {
    const line = drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: color(curve), "stroke-width": 2.5, "stroke-dasharray": dash(curve) });
    return drawn("svg", { width: 26, height: 10, "aria-hidden": "true" }, line);
  }

  class LinePlot {
    constructor(chart) {
      const part = (name) => (this[name] = element("div", { class: name }));
      this.chart = chart;
      this.all = chart.curves.map((curves) => curves.map(decode));
      this.axes = this.share = null;
      this.width = this.height = 0;
      this.svg = drawn("svg", { "aria-hidden": "true" });
      this.field = element("div", { class: "field", tabindex: "0", role: "img" }, this.svg);
      const caption = element("figcaption", {}, chart.title, ...(chart.note ? [element("span", {}, chart.note)] : []));
      this.node = element("figure", { class: "chart" }, caption, part("ylabel"), part("yticks"), this.field, part("xticks"), part("xlabel"));
      const pointed = (event) => {
        const box = this.field.getBoundingClientRect();
        this.read((event.clientX - box.left - INSET) / (box.width - 2 * INSET), event);
      };
      for (const name of ["pointermove", "pointerdown"]) this.field.addEventListener(name, pointed);
      for (const name of ["pointerleave", "blur"]) this.field.addEventListener(name, () => this.unread());
      this.field.addEventListener("keydown", (event) => {
        const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Escape") this.unread();
        if (!direction || !this.axes) return;
        event.preventDefault();
        const { x } = this.axes, stride = x.whole ? 1 / Math.max(1, x.high - x.low) : 0.02;
        this.read((this.share ?? (direction > 0 ? -stride : 1 + stride)) + direction * stride);
      });
    }

    // ---- what is drawn ------------------------------------------------------------------------------------------
    get curves() {
      return this.all[view.axis].filter((curve) => !view.hidden.has(curve.name));
    }
    get log() {
      return scale().log || Boolean(this.chart.log);
    }
    // The height of an accuracy: itself, or how far it stays below the best that is possible, or below the optimum.
    heightOf(value) {
      return scale().origin ? this.chart[scale().origin] - value : value;
    }
    known(curve, k) {
      return !Number.isNaN(curve[band()[0]][k]);
    }
    text(value) {
      const decimals = this.chart.decimals ?? payload.lines.decimals;
      if (Number.isNaN(value)) return "–";
      return decimals === undefined ? format(value) : value.toFixed(decimals).replace("-", "−");
    }
    get unit() {
      return this.chart.unit ?? payload.lines.unit;
    }
    get label() {
      return `${scale().label || this.chart.label}${this.unit && `, ${this.unit}`}`;
    }

    domain() {
      const { log } = this, optimum = steps ? this.heightOf(this.chart.optimum) : null;
      let start = Infinity, stop = 0, low = Infinity, high = -Infinity;
      for (const curve of this.all[view.axis])
        curve.at.forEach((at, k) => { if (this.known(curve, k)) { start = Math.min(start, at); stop = Math.max(stop, at); } });
      if (!(stop > 0)) return null;
      for (const curve of this.curves)
        curve.at.forEach((at, k) => {
          if (!this.known(curve, k)) return;
          const next = k + 1 < curve.at.length ? curve.at[k + 1] : stop;
          if (steps && !log && next < STEEP * stop && curve.at.at(-1) > STEEP * stop) return;
          for (const name of band()) {
            const value = this.heightOf(curve[name][k]);
            if (Number.isNaN(value)) continue;
            high = Math.max(high, value);
            if (!log || value > 1e-6) low = Math.min(low, value);
          }
        });
      const { whole } = axes[view.axis];
      const x = { kind: "linear", low: whole || (log && steps) ? start : 0, high: stop, linear: 1, whole };
      if (log && steps && start > 0 && start < stop) x.kind = "log";
      if (whole && !(stop > start)) [x.low, x.high] = [0, 2];
      if (log) {
        if (!(low < Infinity)) [low, high] = [0.01, 1];
        return { x, y: { kind: "log", low: Math.max(low / 1.12, high / 1e4), high: Math.max(high, low * 1.3) * 1.1, linear: 1 } };
      }
      if (steps) {
        if (!(high > optimum)) high = optimum + 1;
        return { x, y: { kind: "linear", low: optimum, high: high + 0.02 * (high - optimum), linear: 1 } };
      }
      if (!(high > low)) [low, high] = low < Infinity ? [low - 1, low + 1] : [0, 1];
      const room = 0.04 * (high - low);
      return { x, y: { kind: "linear", low: low - room, high: high + room, linear: 1 } };
    }

    describe() {
      const last = (curve) => { let k = curve.at.length - 1; while (k > 0 && !this.known(curve, k)) k--; return this.heightOf(curve[band()[0]][k]); };
      const ends = this.all[view.axis].map((curve) => `${names[curve.name].text} ${this.text(last(curve))}`);
      return `${this.chart.title}: ${this.label} against ${axes[view.axis].label}. At the end: ${ends.join(", ")}.`;
    }

    lines() {
      const { chart } = this, found = [];
      for (const { axis, at, text } of chart.marks) {
        if (axis !== view.axis) continue;
        const x = this.across(at), left = x > this.width / 2; // the side of the line where there is room
        found.push(this.upright(at, "upright"));
        if (text) found.push(drawn("text", { x: left ? x - 5 : x + 5, y: 16, "text-anchor": left ? "end" : "start" }, text));
      }
      found.push(...this.curves.map((curve) => this.line(curve)));
      if (steps && !this.log) {
        const optimum = this.heightOf(chart.optimum), y = this.upwards(optimum);
        found.push(drawn("line", { class: "optimum", x1: 0, x2: this.width, y1: y, y2: y }));
        found.push(drawn("text", { x: 8, y: y - 6 }, `optimum ${this.text(optimum)}${this.unit && ` ${this.unit}`}`));
      }
      return found;
    }

    line(curve) {
      const [line, lower, upper] = band();
      const group = drawn("g", { class: "series", style: `color:${color(curve)}`, "data-name": curve.name });
      const edge = lower ? [...this.corners(curve, lower).flat(), ...this.corners(curve, upper).flat().reverse()] : [];
      if (edge.length > 2) group.append(drawn("path", { class: "band", d: `${path(edge)}Z`, fill: "currentColor" }));
      const pieces = this.corners(curve, line).filter((piece) => piece.length);
      if (pieces.length === 1 && pieces[0].length === 1) group.append(drawn("circle", { cx: pieces[0][0][0], cy: pieces[0][0][1], r: 4, fill: "currentColor" }));
      group.append(drawn("path", { class: "line", d: pieces.map(path).join(""), stroke: "currentColor", "stroke-dasharray": dash(curve) }));
      return group;
    }

    // Pieces of a line as corners. In steps a value holds until the next one: two rows of corners.
    corners(curve, name) {
      const pieces = [[]];
      let before = null;
      curve.at.forEach((at, k) => {
        const value = this.heightOf(curve[name][k]);
        if (Number.isNaN(value)) return void (steps || pieces.push([]));
        const x = this.across(at).toFixed(1), y = this.upwards(value).toFixed(1);
        if (steps && before !== null && before !== y) pieces.at(-1).push([x, before]);
        if (!steps || before !== y || k === curve.at.length - 1) pieces.at(-1).push([x, y]);
        before = y;
      });
      return pieces;
    }

    // What is at a place of the horizontal axis: of steps the values that hold there, else those of the nearest point.
    reading(wanted) {
      const { before = "", after = "", floor } = axes[view.axis], rows = [];
      let at = wanted;
      if (!steps) at = this.curves.flatMap((curve) => [...curve.at]).reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best), Infinity);
      for (const curve of this.curves) {
        const k = steps ? curve.at.findLastIndex((one) => one <= at * (1 + 1e-6)) : curve.at.indexOf(at);
        if (k < 0 || !this.known(curve, k)) continue;
        const [y, worst, best] = band().map((name) => this.heightOf(curve[name][k]));
        const range = best === undefined || Number.isNaN(best) ? "" : ` (${this.text(best)} – ${this.text(worst)})`;
        rows.push({ y, color: color(curve), name: names[curve.name].text, text: `${this.text(y)}${range}` });
      }
      if (steps) rows.sort((a, b) => a.y - b.y);
      return { at, head: `${before}${format(floor ? Math.floor(at) : at)}${after}: ${this.label}`, rows };
    }

    // ---- drawing ------------------------------------------------------------------------------------------------
    // Pixels of a value; what a logarithmic axis cannot show lies on its edge.
    across(value) {
      return INSET + this.along(this.axes.x, value) * (this.width - 2 * INSET);
    }
    upwards(value) {
      return this.height - INSET - this.along(this.axes.y, value) * (this.height - 2 * INSET);
    }
    along(axis, value) {
      return position(axis, axis.kind === "log" ? Math.max(value, axis.low) : value);
    }

    // A line from top to bottom.
    upright(value, name) {
      const x = this.across(value);
      return drawn("line", { class: name, x1: x, x2: x, y1: 0, y2: this.height });
    }

    draw() {
      this.width = this.field.clientWidth;
      this.height = this.field.clientHeight;
      if (!this.width || !this.height) return;
      this.unread();
      this.ylabel.textContent = `↑ ${this.label}${this.log ? (steps ? ", both axes logarithmic" : ", logarithmic") : ""}`;
      this.xlabel.textContent = `${axes[view.axis].label} →`;
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      for (const node of [this.svg, this.xticks, this.yticks]) node.replaceChildren();
      for (const line of this.field.querySelectorAll(".grid")) line.remove();
      this.axes = this.domain();
      this.field.setAttribute("aria-label", this.describe());
      if (!this.axes) return;
      const { x, y } = this.axes;
      const room = x.whole ? 48 : 72; // pixels of a label and its surroundings: whole numbers are short
      const wanted = ticks(x, Math.max(3, Math.round(this.width / room))).filter((tick) => !x.whole || Number.isInteger(tick));
      let end = -Infinity;
      for (const tick of wanted.sort((a, b) => a - b)) end = this.markX(tick, end);
      for (const tick of ticks(y, Math.max(3, Math.round(this.height / 36)))) this.mark("y", tick, this.upwards(tick));
      this.svg.append(...this.lines());
    }

    mark(kind, tick, pixels) {
      const side = kind === "x" ? "left" : "top";
      const line = element("i", { class: `grid ${kind}` }), label = element("i", {}, format(tick));
      for (const node of [line, label]) node.style[side] = `${pixels}px`;
      this.field.prepend(line);
      this[`${kind}ticks`].append(label);
      return label;
    }

    // The last label stays inside, and one that would touch the label before it, which ends at `before`, is left out.
    markX(tick, before) {
      const pixels = this.across(tick), label = this.mark("x", tick, pixels), half = label.offsetWidth / 2;
      const middle = Math.min(pixels, this.width - half);
      label.style.left = `${middle}px`;
      if (middle - half >= before + 6) return middle + half;
      label.remove();
      return before;
    }

    unread() {
      this.share = null;
      tip.hidden = true;
      this.svg.querySelector(".reading")?.remove();
    }

    read(share, event) {
      if (!this.axes) return;
      this.unread();
      this.share = clamped(share);
      const { at, head, rows } = this.reading(valueAt(this.axes.x, this.share));
      if (!Number.isFinite(at)) return;
      const x = this.across(at);
      const dots = rows.map((row) => drawn("circle", { class: "dot", r: 4, cx: x, cy: this.upwards(row.y), fill: row.color }));
      this.svg.append(drawn("g", { class: "reading" }, this.upright(at, "cursor"), ...dots));
      const texts = rows.flatMap((row) => [
        element("span", {}, element("i", { style: `background:${row.color}` }), row.name),
        element("span", {}, row.text),
      ]);
      const box = this.field.getBoundingClientRect();
      showTip(event?.clientX ?? box.left + x, event?.clientY ?? box.top + 30, element("b", {}, head), element("div", { class: "reading" }, ...texts));
    }
  }

  // ---- wiring -----------------------------------------------------------------------------------------------------
  const plots = charts.map((chart) => new LinePlot(chart));

  function draw() {
    plots.forEach((plot) => plot.draw());
    place.parentNode.querySelector(".count").textContent = scale().caption;
  }

  // A line that is pointed at by its name stands out in every plot.
  function point(name) {
    const on = name !== null && !view.hidden.has(name);
    place.classList.toggle("pointed", on);
    for (const node of place.querySelectorAll(".series")) node.classList.toggle("on", on && +node.dataset.name === name);
  }

  const used = new Set(plots.flatMap((plot) => plot.all.flat().map((curve) => curve.name)));
  names.forEach(({ text, unnamed }, name) => {
    if (unnamed || !used.has(name)) return;
    const button = element("button", { type: "button", "aria-pressed": "true" }, lineSample({ name }), text);
    button.addEventListener("click", () => {
      const hide = !view.hidden.delete(name);
      if (hide) view.hidden.add(name);
      button.setAttribute("aria-pressed", String(!hide));
      point(null);
      draw();
    });
    for (const [event, whom] of [["pointerenter", name], ["focus", name], ["pointerleave", null], ["blur", null]]) button.addEventListener(event, () => point(whom));
    place.parentNode.querySelector(".names").append(button);
  });

  onSegment(place, (group, option) => {
    view[["axis", "scale", "band"][group]] = option;
    draw();
  });
  place.append(...plots.map((plot) => plot.node));
  let pending = 0;
  const resized = (plot) => plot.width !== plot.field.clientWidth || plot.height !== plot.field.clientHeight;
  new ResizeObserver(() => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => plots.filter(resized).forEach((plot) => plot.draw()));
  }).observe(place);
  draw();
})();
