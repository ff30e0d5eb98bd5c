"use strict";
// The JSON in #payload, elements, axes with their labels, the tip; tables that sort, and variants that are chosen. Asks nothing of any network.
const byId = (id) => document.getElementById(id);
const payload = JSON.parse(byId("payload").textContent);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// ---- axes -------------------------------------------------------------------------------------------------------
const warps = {
  linear: [(v) => v, (w) => w],
  log: [Math.log, Math.exp],
  symlog: [(v, linear) => Math.asinh(v / linear), (w, linear) => Math.sinh(w) * linear],
};

function position(axis, value) {
  const [warp] = warps[axis.kind];
  const low = warp(axis.low, axis.linear), high = warp(axis.high, axis.linear);
  return high > low ? (warp(value, axis.linear) - low) / (high - low) : 0.5;
}

function valueAt(axis, at) {
  const [warp, unwarp] = warps[axis.kind];
  const low = warp(axis.low, axis.linear), high = warp(axis.high, axis.linear);
  return high > low ? unwarp(low + at * (high - low), axis.linear) : axis.low;
}

function superscript(number) {
  return String(number).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c]));
}

function format(value) {
  if (value === 0) return "0";
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  if (size >= 1e5 || size < 1e-3) {
    const [mantissa, exponent] = size.toExponential(1).split("e");
    return `${sign}${mantissa === "1.0" ? "" : mantissa.replace(".0", "") + "·"}10${superscript(+exponent)}`;
  }
  return sign + (size >= 1000 ? Math.round(size).toLocaleString("en") : String(+size.toPrecision(4)));
}

function ticks(axis, wanted) {
  const found = [];
  if (axis.kind === "linear") {
    const rough = (axis.high - axis.low) / wanted;
    if (!(rough > 0)) return [axis.low];
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
    for (let k = Math.ceil(axis.low / step); k * step <= axis.high; k++) found.push(k * step);
    return found;
  }
  const decades = (from, to) => {
    const first = Math.ceil(Math.log10(from) - 1e-9), last = Math.floor(Math.log10(to) + 1e-9);
    const stride = Math.max(1, Math.ceil((last - first + 1) / wanted));
    for (let k = first; k <= last; k += stride) found.push(10 ** k);
  };
  if (axis.kind === "log") {
    decades(axis.low, axis.high);
    if (found.length < 3) // too short for powers of ten alone
      for (let k = Math.floor(Math.log10(axis.low)); k <= Math.log10(axis.high); k++) found.push(...[2, 5].map((factor) => factor * 10 ** k));
    if (found.filter((v) => v >= axis.low && v <= axis.high).length < 3) return ticks({ ...axis, kind: "linear" }, wanted);
  } else {
    found.push(0);
    if (axis.high > axis.linear) decades(axis.linear, axis.high);
    const positive = found.length;
    if (-axis.low > axis.linear) decades(axis.linear, -axis.low);
    for (let k = positive; k < found.length; k++) found[k] = -found[k];
  }
  const kept = [];
  for (const value of found.filter((v) => v >= axis.low && v <= axis.high))
    if (kept.every((other) => Math.abs(position(axis, other) - position(axis, value)) > 0.06)) kept.push(value);
  return kept.length ? kept : [axis.low, axis.high];
}

// ---- the tip ----------------------------------------------------------------------------------------------------
const tip = byId("tip");

// Beside a point of the window, and inside it.
function showTip(x, y, ...content) {
  tip.hidden = false;
  tip.replaceChildren(...content);
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(innerWidth - box.width - 8, x + 14))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(8, y - box.height - 12) : y + 18}px`;
}

// ---- tables that sort ---------------------------------------------------------------------------------------------
// All variants of a table sort by the same column, so that another variant can be chosen without losing the order.
function sortTable(table, key, descending) {
  const headings = [...table.tHead.rows[0].cells], column = headings.findIndex((heading) => heading.dataset.sort === key);
  const name = (row) => row.cells[0].firstChild.textContent;
  const value = (row) => (column ? parseFloat(row.cells[column].dataset.value ?? "NaN") : name(row));
  const rows = [...table.tBodies[0].rows].map((row) => [value(row), name(row), row]);
  rows.sort(([x, a], [y, b]) => {
    const lost = (x !== x) - (y !== y); // what is missing stays last
    const order = x < y ? -1 : x > y ? 1 : 0;
    return lost || (descending ? -order : order) || (a < b ? -1 : 1);
  });
  table.tBodies[0].append(...rows.map(([, , row]) => row));
  headings.forEach((heading, k) => {
    if (k === column) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  });
}

for (const button of document.querySelectorAll("table.sortable thead button"))
  button.addEventListener("click", () => {
    const heading = button.closest("th"), { sort, better } = heading.dataset;
    const again = heading.getAttribute("aria-sort");
    const descending = again ? again === "ascending" : sort !== "" && better !== "low";
    for (const table of heading.closest("section").querySelectorAll("table.sortable")) sortTable(table, sort, descending);
  });

// ---- variants -----------------------------------------------------------------------------------------------------
const chosen = payload.chosen;
const onChoice = []; // called with nothing whenever a reader has chosen another variant

function showVariants() {
  for (const node of document.querySelectorAll("[data-when]")) node.hidden = JSON.parse(node.dataset.when).some((option, k) => option !== chosen[k]);
  for (const node of document.querySelectorAll("[data-context]")) {
    const texts = JSON.parse(node.dataset.context).map((number) => chosen[number]);
    const variants = [...node.closest("section").querySelectorAll("[data-when]")];
    const lost = variants.length && variants.every((variant) => variant.hidden);
    node.textContent = texts.join(", ") + (lost ? ": not computed" : "");
  }
}

for (const choice of document.querySelectorAll("[data-choice]")) {
  choice.value = chosen[+choice.dataset.choice]; // a reload may have kept another choice in the form
  choice.addEventListener("change", () => {
    chosen[+choice.dataset.choice] = choice.value;
    showVariants();
    for (const draw of onChoice) draw();
  });
}

// Groups of buttons above charts: calls `change(group, option)` with their numbers.
function onSegment(charts, change) {
  const toolbar = charts.parentNode.querySelector(".toolbar");
  for (const group of toolbar.querySelectorAll("[data-segment]"))
    for (const input of group.querySelectorAll("input")) {
      input.checked = input.value === "0";
      input.addEventListener("change", () => change(+group.dataset.segment, +input.value));
    }
  toolbar.hidden = !toolbar.querySelector("input");
}

for (const node of document.querySelectorAll(".controls")) node.hidden = false;
document.documentElement.classList.add("live");
