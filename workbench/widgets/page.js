// Pieces of the page. Texts of a run get in by textContent only.
import { EFFECTS, GLYPHS, KINDS, QUALITIES } from "./glyphs.js";
import { count, dollars, duration, moment } from "./figures.js";
import { BAR, STRIP, UNKNOWN } from "./layout.js";

const SVG = "http://www.w3.org/2000/svg";
const KEYS = [["← →", "previous, next step"], ["↑ ↓", "other lane; other name by cost"],
  ["Shift ← →", "step of the same kind"], ["Home End", "first, last step"], ["+ − 0", "zoom, fit"],
  ["e E", "next, previous error"], ["Enter", "inspect"], ["f", "fork here"], ["/", "find a name"],
  ["Esc", "close, then clear"], ["Ctrl+click", "select one more"], ["double+click", "fit the step"]];

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

export function glyph(name, label) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  const words = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  for (const [key, value] of Object.entries({ class: "g", viewBox: "0 0 12 12", ...words }))
    svg.setAttribute(key, value);
  path.setAttribute("fill-rule", "evenodd");
  path.setAttribute("d", GLYPHS[name]);
  svg.append(path);
  return svg;
}

export function mark(kind, words) {
  const sign = glyph(kind);
  sign.style.color = `var(--wb-kind-${kind})`;
  return h("span", { class: "k" }, sign, h("span", {}, words));
}

const missing = (value) => value == null || Number.isNaN(value) || value === UNKNOWN;
const unknown = (why) => h("span", { class: "unk", title: why }, "unknown");
const told = (value, words) => missing(value) ? unknown("the source does not say") : words;
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
export const button = (words, act, cls = "") =>
  h("button", { type: "button", class: cls, onclick: act }, words);

export function header({ title, status, chips, figures }) {
  return h("div", { class: "head" }, h("span", { class: "name" }, title),
    status && h("span", { class: `st ${status.tone}` }, glyph(status.glyph), status.text),
    ...chips.map(({ tone, text, why }) => h("span", { class: `chip ${tone}`, title: why }, text)),
    h("dl", { class: "figs" }, ...figures.map(({ label, text, why }) => h("div", {},
      h("dt", {}, `${label} `), h("dd", {}, text ?? unknown(why))))));
}

function segment(label, words, now, pick, off) {
  return h("span", { class: "with" }, h("span", { class: "cap" }, label),
    h("span", { class: "seg", role: "group", "aria-label": label }, ...words.map((word) =>
      h("button", { type: "button", "aria-pressed": String(word.toLowerCase() === now),
        disabled: word === off ? "" : null,
        title: word === off ? "This source records no times" : null,
        onclick: () => pick(word.toLowerCase()) }, word))));
}

export function controls(facts, { by, lanes, hidden, set, toggle, error }) {
  const legend = facts.kinds.map(([kind, n]) => h("button", { type: "button",
    "aria-pressed": String(!hidden.has(KINDS.indexOf(kind))), title: `Hide or show ${kind}`,
    onclick: (event) => {
      const shown = toggle(KINDS.indexOf(kind));
      event.currentTarget.setAttribute("aria-pressed", String(shown));
    } }, mark(kind, `${kind === "step" ? "structure" : kind} ${count(n)}`)));
  if (facts.errors) {
    const words = [glyph("error"), plural(facts.errors, "error")];
    legend.push(h("button", { type: "button", class: "st bad", title: "Go to the next error",
      onclick: error }, ...words));
  }
  const axis = segment("by", ["Time", "Order", "Cost"], by, set("by"), !facts.clock && "Time");
  return h("div", { class: "bar", hidden: facts.steps ? null : "" }, axis,
    by !== "cost" && !facts.links && segment("lanes", ["Structure", "Kind"], lanes, set("lanes")),
    h("div", { class: "legend", role: "group", "aria-label": "Kinds shown" }, ...legend,
      facts.links && h("span", { class: "cap" }, "▤ striped: only in this run")));
}

export const notes = (list) => list.map(({ tone, head, text }) => h("div", { class: `note ${tone}` },
  tone && glyph("warn"), h("span", {}, h("b", {}, head), ` ${text}`)));

export function keyHints(cost) {
  const rows = cost ? [["↑", "↓", "name"], ["Enter", "inspect"]]
    : [["←", "→", "step"], ["+", "−", "zoom"], ["e", "next error"], ["f", "fork here"]];
  return [...rows, ["?", "keys"]].map((row) =>
    h("span", {}, ...row.slice(0, -1).flatMap((key) => [h("kbd", {}, key), " "]), row.at(-1)));
}

export function headLabels({ errors }, by, { map, axis }) {
  const at = (y, words, cls = "") => h("span", { class: cls, style: { top: `${y}px` } }, words);
  return [at(5, "whole run"), at(map + 3, by === "time" ? "from start" : "order"),
    errors ? at(map + axis, plural(errors, "error"), "err") : ""];
}

export function laneLabels(stack, dense) {
  const out = [];
  for (const { heading, top, y, path, depth, label, kinds, main } of stack) {
    if (heading) out.push(h("span", { class: "run", title: heading.text, style: { top: `${top + 2}px` } },
      h("b", { class: `ab ${heading.letter === "B" ? "b" : ""}` }, heading.letter)));
    out.push(h("span", { class: dense ? "mono dn" : "mono", title: path,
      style: { top: `${y + 1}px` } }, (depth ? "└ " : "") + label));
    if (!dense && main)
      out.push(h("span", { class: "cap", title: main, style: { top: `${y + 16}px` } }, main));
    if (dense) kinds.forEach((kind, row) => {
      const sign = glyph(KINDS[kind], KINDS[kind]);
      const colour = `var(--wb-kind-${KINDS[kind]})`;
      Object.assign(sign.style, { top: `${y + 1 + row * STRIP}px`, color: colour });
      out.push(sign);
    });
  }
  return out;
}

export function costTable({ rows, unit, words }, pick) {
  const most = Math.max(1e-12, ...rows.map(({ total }) => total));
  const blocks = ({ total, blocks: sizes, kind }) => h("div", { class: "blocks",
    style: { width: `${(total / most) * 100}%`, color: `var(--wb-kind-${kind})` } },
  ...sizes.map((size) => h("i", { style: { flexGrow: (size / total) * 100 } })));
  const num = (text) => h("td", { class: "num" }, text);
  return h("div", { class: "plot costs", tabindex: "0", role: "application", "aria-label": words,
    "data-lm-suppress-shortcuts": "true" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}), h("th", { class: "wide" }, words),
      ...["calls", unit === "calls" ? "" : unit, "share"].map((word) => h("th", { class: "num" }, word)))),
    h("tbody", {}, ...rows.map((row, k) => h("tr", { onclick: () => pick(k) },
      h("th", { scope: "row", title: row.name }, mark(row.kind, row.name)),
      h("td", { class: "wide" }, row.blocks.length ? blocks(row) : h("span", { class: "cap" }, row.why)),
      num(count(row.calls)), num(row.amount ?? unknown(row.why)), num(row.share ?? ""))))));
}

// The footer's line about the selected step.
export function stepLine(step, facts, { more, inspect }) {
  const effect = EFFECTS[step.effect], kind = KINDS[step.kind];
  const when = facts.clock
    ? [told(step.took, duration(step.took)), ` at ${moment(Math.round(step.start / 100) * 100)}`]
    : [`${count(step.index + 1)} of ${count(facts.steps)}`];
  const out = step.output === UNKNOWN ? "unknown" : count(step.output);
  return [h("b", {}, `#${count(step.seq)}`), mark(kind, step.name || kind),
    step.status === 1 && h("span", { class: "st bad" }, glyph("error"), "failed"),
    step.status === 4 && h("span", { class: "muted" }, "a step inside failed"),
    step.status === 2 && h("span", { class: "st run" }, glyph("running"), "running"),
    h("span", { class: "muted" }, ...when),
    step.input !== UNKNOWN && h("span", { class: "muted" }, `${count(step.input)} in, ${out} out`),
    ["write", "irreversible"].includes(effect) && h("span", { class: "chip warn" }, effect),
    more > 1 && h("span", { class: "muted" }, `${more} selected`),
    button("Inspect", inspect, "link")].filter(Boolean);
}

export function card(step, facts) {
  const kind = KINDS[step.kind], quality = QUALITIES[step.quality], list = h("dl", {});
  const row = (label, value, long) =>
    list.append(h("dt", {}, label), h("dd", long ? { class: "two" } : {}, ...[value].flat()));
  if (facts.clock)
    row("took", [told(step.took, duration(step.took)), `, from ${moment(Math.round(step.start))}`]);
  if (kind === "model" || kind === "agent") {
    row("tokens", [told(step.input, `${count(step.input)} in`), ", ",
      told(step.output, `${count(step.output)} out`)]);
    row("cost", [told(step.cost, dollars(step.cost))]);
  }
  if (EFFECTS[step.effect]) row("effect", EFFECTS[step.effect]);
  if (quality && quality !== "full") row("quality", quality);
  const nth = step.ordinal === UNKNOWN ? "" : ` · ${step.ordinal}`;
  const place = `#${count(step.seq)} · ${facts.lanes[step.lane]?.label ?? ""}${nth}`;
  const node = h("div", { class: "card", role: "tooltip" }, h("h4", {}, mark(kind, step.name || kind),
    h("span", { class: "grow" }), h("span", { class: "cap" }, place)), list);
  return { node, row };
}

// The card lies beside its step, else under or over it, and always inside the plot.
export function putBeside({ style, offsetWidth: wide, offsetHeight: tall }, box, { x0, x1, y }) {
  const right = Math.min(box.width, x1) + 14, left = x0 - 14 - wide;
  const side = right + wide <= box.width ? right : left >= 0 ? left : null;
  const under = y + BAR + 8 + tall <= box.height ? y + BAR + 8 : Math.max(2, y - 8 - tall);
  style.left = `${side ?? Math.max(2, Math.min(box.width - wide - 2, x0))}px`;
  style.top = `${side == null ? under : Math.max(2, Math.min(y - 8, box.height - tall - 4))}px`;
}

export function keyTable() {
  return h("dl", { class: "allkeys" }, ...KEYS.map(([keys, words]) => h("div", {},
    h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, words))));
}

// Code to paste into a cell; nothing runs by itself.
export function codePanel(text, shut) {
  const pre = h("pre", { tabindex: "0" }, text), done = h("span", { class: "cap", role: "status" });
  const copy = button("Copy", async () => {
    getSelection().selectAllChildren(pre);
    try { await navigator.clipboard.writeText(text); } catch { document.execCommand("copy"); }
    done.textContent = "Copied. Paste it into a cell below.";
  }, "pri");
  return [pre, h("div", { class: "acts" }, copy, button("Close", shut), done)];
}
