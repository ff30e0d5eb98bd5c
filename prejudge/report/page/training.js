// The curves of trainings: loss, accuracies and learning rate after each epoch.
(() => {
  const DASHES = { train: "", valid: "7 3", test: "2 3", "learning rate": "" };
  const several = payload.trainings.length > 1;
  const KINDS = ["train", "valid", "test", "learning rate"];
  if (!payload.charts.length) return;

  // One training: a color for each kind of images. Several: a color for each training, a dash for each kind.
  const color = (series) => `var(--c${(several ? series.training : KINDS.indexOf(series.images) % 3) % COLORS})`;
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
    return { x: { kind: "linear", whole: true, low: last > 1 ? 1 : 0, high: last > 1 ? last : 2, linear: 1 }, y };
  }
  const text = (content, value) => `${content.unit === "%" ? value.toFixed(2) : format(value)}${content.unit && ` ${content.unit}`}`;

  class EpochPlot extends LinePlot {
    constructor(content) {
      super(content.title, element("span", {}, content.scale === "log" ? "logarithmic" : content.unit));
      this.content = content;
      this.xlabel.textContent = "epochs →";
    }

    get stride() {
      return 1 / Math.max(1, this.axes.x.high - this.axes.x.low);
    }

    domain() {
      return axesOf(this.content);
    }

    describe() {
      const { title, series } = this.content;
      const ends = series.map((one) => `${label(one)} ${text(this.content, one.values.findLast((value) => value !== null))}`);
      return `${title} against epochs. At the end: ${ends.join(", ")}.`;
    }

    lines() {
      const { series } = this.content, selected = [...new Set(series.map((one) => one.selected))];
      return [...selected.map((epoch) => this.upright(epoch, "selected")), ...series.map((one) => this.line(one))];
    }

    line(one) {
      const group = drawn("g", { style: `color:${color(one)}` }), parts = [];
      let pen = "M";
      one.values.forEach((value, k) => {
        if (value === null) return void (pen = "M");
        parts.push(`${pen}${this.across(one.at[k]).toFixed(1)} ${this.upwards(value).toFixed(1)}`);
        pen = "L";
      });
      group.append(drawn("path", { class: "line", d: parts.join(""), stroke: "currentColor", "stroke-dasharray": dash(one) }));
      if (parts.length === 1) {
        const k = one.values.findIndex((value) => value !== null);
        group.append(drawn("circle", { cx: this.across(one.at[k]), cy: this.upwards(one.values[k]), r: 4, fill: "currentColor" }));
      }
      return group;
    }

    reading(wanted) {
      const at = this.content.series.flatMap((one) => one.at).reduce((best, epoch) => (Math.abs(epoch - wanted) < Math.abs(best - wanted) ? epoch : best));
      const rows = [];
      for (const one of this.content.series) {
        const y = one.values[one.at.indexOf(at)] ?? null;
        if (y !== null) rows.push({ y, color: color(one), name: label(one), text: text(this.content, y) });
      }
      return { at, head: `epoch ${at}`, rows };
    }
  }

  const plots = payload.charts.map((content) => new EpochPlot(content));
  const named = new Map();
  for (const { series } of payload.charts) for (const one of series) if (one.images !== "learning rate") named.set(label(one), one);
  for (const [name, one] of named) byId("names").append(element("span", {}, lineSample(color(one), dash(one)), name));
  showPlots(byId("charts"), plots);
  plots.forEach((plot) => plot.draw());
})();
