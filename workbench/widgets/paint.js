// Drawing on two canvases: the head (minimap, axis, errors) and the lanes.
import { GLYPHS, KINDS } from "./glyphs.js";
import { count, moment } from "./figures.js";
import { apart, BAR, captions, resample, ROW, stand, STRIP, ticks } from "./layout.js";

export const MAP = 30, AXIS = 20, ERRORS = 16;

export class Brush {
  constructor(root) {
    this.style = getComputedStyle(root);
    this.colours = {};
    this.paths = {};
    this.font = this.style.getPropertyValue("--wb-ui") || "sans-serif";
  }
  colour(name) {
    return (this.colours[name] ??= this.style.getPropertyValue(`--wb-${name}`).trim() || "#888");
  }
  kind(code) { return this.colour(`kind-${KINDS[code]}`); }
  on(canvas, width, height) {
    const ratio = globalThis.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const g = (this.g = canvas.getContext("2d"));
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    return g;
  }
  box(x, y, w, h, colour) { this.g.fillStyle = colour; this.g.fillRect(x, y, w, h); }
  text(words, x, y, colour = "ink-2", weight = 400) {
    this.g.font = `${weight} 11px ${this.font}`;
    this.g.fillStyle = this.colour(colour);
    this.g.fillText(words, x, y);
  }
  wide(words, weight = 400) {
    this.g.font = `${weight} 11px ${this.font}`;
    return this.g.measureText(words).width;
  }
  fit(words, room) {
    if (this.wide(words) <= room) return words;
    let low = 3, high = words.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.wide(`${words.slice(0, middle)}…`) <= room) low = middle; else high = middle - 1;
    }
    return low > 3 ? `${words.slice(0, low)}…` : "";
  }
  stamp(name, x, y, size, colour) {
    const g = this.g;
    g.save();
    g.translate(x, y);
    g.scale(size / 12, size / 12);
    g.fillStyle = colour;
    g.fill((this.paths[name] ??= new Path2D(GLYPHS[name])), "evenodd");
    g.restore();
  }
}

export function paintHead(brush, canvas, scene) {
  const { width, view, span, by, whole, errors, failures } = scene;
  const g = brush.on(canvas, width, MAP + AXIS + (errors ? ERRORS : 0));
  const x = (at, [a, b]) => ((at - a) / (b - a)) * width;
  brush.box(0, 0, width, MAP - 4, brush.colour("sunken"));
  const cells = Math.max(1, Math.ceil(width / 3));
  resample(whole.skyline, whole, [0, span], cells).forEach((v, j) => {
    if (v) brush.box(j * 3, 23 - Math.max(1, v * 15), 2.4, Math.max(1, v * 15), brush.colour("kind-step"));
  });
  const fell = [...whole.errors.keys()].filter((j) => whole.errors[j]);
  for (const at of apart(fell.map((j) => ((j + 0.5) / whole.bins) * width), 3))
    brush.box(at - 1, 2, 2, 5, brush.colour("error-mark"));
  const from = Math.max(0, x(view[0], [0, span])), to = Math.min(width, x(view[1], [0, span]));
  const full = to - from > width - 3;
  g.globalAlpha = 0.55;
  if (!full) {
    brush.box(0, 0, from, MAP - 4, brush.colour("bg"));
    brush.box(to, 0, width - to, MAP - 4, brush.colour("bg"));
  }
  g.globalAlpha = 1;
  g.strokeStyle = brush.colour(full ? "line-2" : "accent");
  g.lineWidth = full ? 1 : 1.5;
  g.strokeRect(from + 0.5, 0.5, Math.max(4, to - from) - 1, MAP - 5);
  brush.box(from, 7, 3, 12, brush.colour("accent"));
  brush.box(Math.max(from, to - 3), 7, 3, 12, brush.colour("accent"));
  for (const at of ticks(view, width, by)) {
    const words = by === "time" ? moment(at) : `#${count(at + 1)}`, place = x(at, view);
    if (place + brush.wide(words) + 4 > width) continue;
    brush.box(Math.round(place), MAP + AXIS - 5, 1, 5 + ERRORS, brush.colour("line"));
    brush.text(words, Math.max(1, place + 3), MAP + 13, "ink-3");
  }
  for (const at of apart(failures.map((at) => x(at, view))))
    if (at > -6 && at < width + 6)
      brush.stamp("error", Math.min(width - 9, Math.max(0, at - 4)), MAP + AXIS + 3, 9,
        brush.colour("error-mark"));
}

export function paintLanes(brush, canvas, scene) {
  const { width, height, scroll, view, by, lanes, turns, end } = scene;
  const g = brush.on(canvas, width, height);
  const x = (at) => ((at - view[0]) / (view[1] - view[0])) * width;
  const seen = lanes.filter((lane) => lane.y + lane.h > scroll && lane.top < scroll + height);
  turns.forEach((at, k) => {
    if (k % 2 === 0) brush.box(x(at), 0, x(turns[k + 1] ?? end) - x(at), height, brush.colour("band"));
  });
  for (const at of ticks(view, width, by))
    brush.box(Math.round(x(at)), 0, 1, height, brush.colour("line"));
  g.save();
  g.translate(0, -scroll);
  for (const lane of seen) if (lane.y) brush.box(0, lane.y - 1, width, 1, brush.colour("line"));
  if (scene.strips) seen.forEach((lane) => paintStrips(brush, lane, scene));
  else paintBars(brush, seen, scene);
  for (const { heading, top } of seen) if (heading) brush.text(heading.text, 3, top + 15, "ink", 600);
  if (scene.links) paintLinks(brush, scene);
  g.restore();
  if (end && x(end) <= width + 1) brush.box(Math.min(width - 1.5, x(end)), 0, 1.5, height, brush.colour("ink-2"));
  for (const step of scene.selected) paintFrame(brush, step, scene, x, true);
  if (scene.hover) paintFrame(brush, scene.hover, scene, x, false);
}

function paintStrips(brush, lane, { strips, width, view, hidden }) {
  const cells = Math.ceil(width / 2);
  strips.strips.forEach(([its, kind], k) => {
    const row = lane.kinds.indexOf(kind);
    if (its !== lane.code || row < 0 || hidden.has(kind)) return;
    const floor = lane.y + 1 + row * STRIP + STRIP - 1;
    brush.g.fillStyle = brush.kind(kind);
    resample(strips.cover[k], strips, view, cells).forEach((v, j) => {
      if (!v) return;
      const h = Math.min(1, 0.25 + v * 0.75) * (STRIP - 1);
      brush.g.fillRect(j * 2, floor - h, 2, h);
    });
  });
}

function paintBars(brush, seen, scene) {
  const { shown, names, skip, width, only } = scene;
  const byCode = new Map(seen.map((lane) => [lane.code, lane]));
  const here = shown.filter((bar) => byCode.has(bar.lane));
  const top = (bar) => stand(byCode.get(bar.lane), bar.kind, bar.row, scene.order).y;
  const ground = brush.colour("bg");
  for (const bar of here.filter((one) => one.plain)) {
    const { y, h } = stand(byCode.get(bar.lane), bar.kind, 0, scene.order);
    brush.box(bar.x, y, bar.w, h, brush.kind(bar.kind));
  }
  for (const bar of here.filter((one) => !one.plain)) {
    const y = top(bar);
    brush.box(bar.x, y, bar.w, BAR, brush.kind(bar.kind));
    if (only?.has(bar.id)) for (let q = 2; q < BAR; q += 5) brush.box(bar.x, y + q, bar.w, 1.6, ground);
    else if (bar.w >= 15 && bar.x > -4) brush.stamp(KINDS[bar.kind], bar.x + 3, y + 3, 9, ground);
    if (bar.open) for (let q = 0; q < BAR; q += 4) brush.box(bar.x + bar.w - 3, y + q, 3, 2, ground);
  }
  for (const bar of here.filter((one) => one.bad)) {
    const x = bar.w < 24 ? bar.x + bar.w : bar.x + bar.w - 9;
    brush.box(x - 1, top(bar) - 2, 10, 10, brush.colour("bg"));
    brush.stamp("error", x, top(bar) - 1, 8, brush.colour("error-mark"));
  }
  for (const group of captions(here, skip)) {
    const y = byCode.get(group.lane).y + 2 + group.row * ROW + BAR, left = Math.max(1, group.x0), right = Math.min(width, group.until);
    const label = names[group.name] + (group.n > 1 ? ` ×${count(group.n)}` : "");
    const words = brush.fit(label, right - left - 4);
    if (!words) continue;
    if (group.n > 1 && group.x1 - group.x0 > 30) {
      brush.box(left, y + 3, group.x1 - left, 1, brush.colour("line-2"));
      brush.box(left, y + 1, 1, 2, brush.colour("line-2"));
      brush.box(group.x1 - 1, y + 1, 1, 2, brush.colour("line-2"));
    }
    brush.text(words, left, y + 14);
  }
}

function paintFrame(brush, step, scene, x, chosen) {
  const lane = scene.lanes.find((one) => one.code === step.lane);
  if (!lane) return;
  const g = brush.g, left = x(step.a), w = Math.max(2, x(step.b) - left - 1);
  const strip = lane.kinds.indexOf(step.kind);
  const place = scene.strips ? { y: lane.y + 1 + strip * STRIP, h: STRIP }
    : stand(lane, step.kind, step.row, scene.order);
  const y = place.y - scene.scroll, h = place.h;
  g.strokeStyle = brush.colour(chosen ? "accent" : "ink-2");
  g.lineWidth = chosen ? 2 : 1;
  if (chosen) {
    g.globalAlpha = 0.5;
    brush.box(Math.round(left), 0, 1, scene.height, brush.colour("accent"));
    g.globalAlpha = 1;
    g.strokeRect(left - 2, y - 2, w + 4, h + 4);
  } else g.strokeRect(left - 1.5, y - 1.5, w + 3, h + 3);
}

function paintLinks(brush, { links, lanes, shown }) {
  const g = brush.g, heads = lanes.filter((lane) => lane.heading);
  if (heads.length < 2) return;
  const low = heads[1].top - 44, high = heads[1].top + 20;
  const middle = new Map(shown.map((bar) => [bar.id, bar.x + Math.min(bar.w, 400) / 2]));
  const curve = (p, q) => {
    g.beginPath();
    g.moveTo(p, low);
    g.bezierCurveTo(p, low + 28, q, high - 28, q, high);
    g.stroke();
  };
  g.strokeStyle = brush.colour("ink-3");
  g.lineWidth = 1;
  g.globalAlpha = 0.7;
  for (const [p, q] of links.aligned)
    if (middle.has(p) && middle.has(q)) curve(middle.get(p), middle.get(q));
  g.globalAlpha = 1;
  const [p, q] = (links.first ?? []).map((i) => middle.get(i));
  if (p == null || q == null) return;
  g.strokeStyle = brush.colour("error-mark");
  g.lineWidth = 2;
  g.setLineDash([5, 3]);
  curve(p, q);
  g.setLineDash([]);
  const w = brush.wide(links.words, 600), left = Math.max(2, Math.min(q + 8, brush.g.canvas.clientWidth - w - 10));
  brush.box(left - 4, low + 22, w + 8, 16, brush.colour("bg"));
  brush.text(links.words, left, low + 34, "error", 600);
}
