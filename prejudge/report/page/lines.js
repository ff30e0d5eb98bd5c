// Line plots: a field with grid, ticks and lines that follows its size, and is read with the pointer or the arrow keys.
const COLORS = 8; // --c0 ... of lines.css
const INSET = 8; // pixels kept free at the edges of a plot, so that no line is cut
const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// The piece of a line that stands beside its name.
function lineSample(color, dash) {
  const line = drawn("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash });
  return drawn("svg", { width: 26, height: 10, "aria-hidden": "true" }, line);
}

const clamped = (share) => Math.min(1, Math.max(0, share));

// A page's plots extend this. They answer to
//   domain()       the axes { x, y } that are to be drawn, or null where there is nothing to draw;
//   describe()     what a reader who does not see the plot is told;
//   lines()        the nodes of the picture, from across() and upwards();
//   reading(value) what is at this value of the horizontal axis: { at, head, rows: [{ y, color, name, text }] };
//   stride         how far one press of an arrow key goes, as a share of the width.
class LinePlot {
  constructor(...heading) {
    const part = (name) => (this[name] = element("div", { class: name }));
    this.axes = this.share = null;
    this.width = this.height = 0;
    this.svg = drawn("svg", { "aria-hidden": "true" });
    this.field = element("div", { class: "field", tabindex: "0", role: "img" }, this.svg);
    const caption = element("figcaption", {}, ...heading);
    this.node = element("figure", { class: "chart" }, caption, part("ylabel"), part("yticks"), this.field, part("xticks"), part("xlabel"));
    const pointed = (event) => {
      const box = this.field.getBoundingClientRect();
      this.read((event.clientX - box.left - INSET) / (box.width - 2 * INSET), event);
    };
    for (const name of ["pointermove", "pointerdown"]) this.field.addEventListener(name, pointed);
    for (const name of ["pointerleave", "blur"]) this.field.addEventListener(name, () => this.unread());
    this.field.addEventListener("keydown", (event) => {
      const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key], stride = this.stride;
      if (event.key === "Escape") this.unread();
      if (!direction) return;
      event.preventDefault();
      this.read((this.share ?? (direction > 0 ? -stride : 1 + stride)) + direction * stride);
    });
  }

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
    const { at, head, rows } = this.reading(valueAt(this.axes.x, this.share)), x = this.across(at);
    const dots = rows.map(({ y, color }) => drawn("circle", { class: "dot", r: 4, cx: x, cy: this.upwards(y), fill: color }));
    this.svg.append(drawn("g", { class: "reading" }, this.upright(at, "cursor"), ...dots));
    const texts = rows.flatMap(({ color, name, text }) => [
      element("span", {}, element("i", { style: `background:${color}` }), name),
      element("span", {}, text),
    ]);
    const box = this.field.getBoundingClientRect();
    showTip(event?.clientX ?? box.left + x, event?.clientY ?? box.top + 30, element("b", {}, head), element("div", { class: "reading" }, ...texts));
  }
}

// Put plots into the page, and draw each again whenever its size changes.
function showPlots(place, plots) {
  place.append(...plots.map((plot) => plot.node));
  document.documentElement.classList.add("live");
  let pending = 0;
  const resized = (plot) => plot.width !== plot.field.clientWidth || plot.height !== plot.field.clientHeight;
  new ResizeObserver(() => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => plots.filter(resized).forEach((plot) => plot.draw()));
  }).observe(place);
}
