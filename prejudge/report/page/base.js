"use strict";
// What the scripts of all pages share: the JSON in #payload, elements, axes with their labels, the tip. Asks nothing of any network.
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
