// Layout laws, without a page. Run by `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dollars, duration, moment } from "../../../workbench/widgets/figures.js";
import { apart, bars, captions, clamp, next, resample, stack, strips, ticks, zoom }
  from "../../../workbench/widgets/layout.js";

const shown = { by: "time", lanes: "structure", total: 100, hidden: new Set() };

function columns(rows) {
  const names = [...new Set(rows.map((row) => row.name ?? "x"))];
  const pick = (key, other) => rows.map((row, i) => row[key] ?? other(i));
  return { n: rows.length, names, start: pick("start", () => 0), took: pick("took", () => 1),
    index: rows.map((_, i) => i), slot: rows.map((_, i) => i), seq: rows.map((_, i) => i + 1), kind: pick("kind", () => 0),
    lane: pick("lane", () => 0), row: pick("row", () => 0), rowByKind: pick("row", () => 0),
    status: pick("status", () => 0), name: rows.map((row) => names.indexOf(row.name ?? "x")) };
}

test("ticks are 1-2-5 apart and never closer than the gap", () => {
  for (const span of [3, 80, 999, 61e3, 4e6, 2e8]) {
    const places = ticks([0, span], 1000, "time");
    const step = places[1] - places[0];
    assert.ok(!(places.length > 12), `${span}: ${places.length}`);
    assert.ok(Number.isNaN(step) || (step / span) * 1000 >= 88);
  }
  assert.deepEqual(ticks([0, 60_000], 600, "time"), [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
  assert.deepEqual(ticks([0, 4], 1000, "order"), [0, 1, 2, 3, 4]);
});

test("a view never leaves the run and never shrinks under the least", () => {
  assert.deepEqual(clamp([-50, 30], 100, 1), [0, 80]);
  assert.deepEqual(clamp([90, 130], 100, 1), [60, 100]);
  assert.deepEqual(clamp([20, 20], 100, 10), [15, 25]);
  assert.deepEqual(clamp([-10, 500], 100, 1), [0, 100]);
});

test("zoom keeps what is under the pointer in its place", () => {
  const [a, b] = zoom([20, 60], 30, 0.5, 100, 1);
  assert.deepEqual([a, b], [25, 45]);
  assert.equal((30 - a) / (b - a), (30 - 20) / (60 - 20));
});

test("bars are never under two pixels, and what is hidden or outside is left out", () => {
  const cols = columns([{ start: 0, took: 0 }, { start: 50, took: 20 }, { start: 60, kind: 2 }, { start: 99 }]);
  const out = bars(cols, [0, 80], 800, { ...shown, hidden: new Set([2]) });
  assert.deepEqual(out.map(({ i, x, w }) => [i, x, w]), [[0, 0, 2], [1, 500, 199]]);
});

test("a step that still runs goes on to the end", () => {
  const [bar] = bars(columns([{ start: 40, took: NaN, status: 2 }]), [0, 100], 1000, shown);
  assert.deepEqual([bar.x, bar.x + bar.w, bar.open], [400, 999, true]);
});

test("strips lose no step and no error", () => {
  const rows = Array.from({ length: 500 }, (_, i) =>
    ({ start: (i * 37) % 100, took: i % 3 ? 0 : 0.2, kind: i % 4, lane: i % 2, status: i % 50 ? 0 : 1 }));
  const out = strips(columns(rows), [0, 100], 64, shown);
  assert.equal(out.errors.reduce((p, q) => p + q), 10);
  rows.forEach(({ start, kind, lane }) => {
    const k = out.strips.findIndex(([l, q]) => l === lane && q === kind);
    assert.ok(out.cover[k][Math.min(63, Math.floor(start * 0.64))] > 0);
  });
});

test("resampling never shows nothing where there is something", () => {
  const strip = new Uint8Array(1000);
  strip[777] = 1;
  const out = resample(strip, { a: 0, b: 1000, bins: 1000 }, [0, 1000], 10);
  assert.deepEqual([...out].map((v) => v > 0), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0].map(Boolean));
});

test("equal neighbours share a caption and the lane's own name is skipped", () => {
  const bar = (x, name, lane = 0, row = 0) => ({ x, w: 5, name, lane, row });
  const out = captions([bar(0, 1), bar(10, 1), bar(20, 2), bar(25, 9), bar(30, 2), bar(40, 1)], [9]);
  assert.deepEqual(out.map(({ name, n, x0, x1, until }) => [name, n, x0, x1, until]),
    [[1, 2, 0, 15, 20], [2, 2, 20, 35, 40], [1, 1, 40, 45, Infinity]]);
});

test("error marks keep their distance", () => {
  assert.deepEqual(apart([30, 1, 2, 9, 10, 11]), [1, 10, 30]);
});

test("lanes keep one height where steps are fetched", () => {
  const lanes = [{ rows: 2, kinds: [0] }, { rows: 1, kinds: [0, 1, 2, 3, 4, 5] }];
  const height = (options) => stack(lanes, { by: "time", ...options }).map(({ h }) => h);
  assert.deepEqual(height({ dense: true, fixed: true }), height({ dense: false, fixed: true }));
  assert.deepEqual(height({ dense: false, fixed: false }), [72, 37]);
  assert.deepEqual(height({ dense: true, fixed: false }), [16, 56]);
});

test("keys lead to the next step, kind, lane and error", () => {
  const cols = columns([{ start: 0, lane: 0 }, { start: 1, lane: 1, kind: 2, status: 1 },
    { start: 5, lane: 1, kind: 2, name: "refund" }, { start: 6, lane: 3 }]);
  const go = (from, to, text) => next(cols, from, to, { ...shown, text });
  assert.equal(go(-1, "next"), 0);
  assert.equal(go(3, "next"), -1);
  assert.equal(go(-1, "last"), 3);
  assert.equal(go(3, "first"), 0);
  assert.equal(go(1, "next of kind"), 2);
  assert.equal(go(3, "previous of kind"), 0);
  assert.equal(go(2, "next error"), 1);
  assert.equal(go(0, "previous error"), 1);
  assert.equal(go(0, "lane below"), 1);
  assert.equal(go(3, "lane above"), 2);
  assert.equal(go(0, "lane above"), -1);
  assert.equal(go(0, "find", "REF"), 2);
  assert.equal(go(0, "find", ""), -1);
});

test("figures read well", () => {
  assert.deepEqual([0, 179, 3580, 36_000, 71_160, 7_500_000, null].map(duration),
    ["0 ms", "179 ms", "3.58 s", "36.0 s", "1 min 11 s", "2 h 05 min", "unknown"]);
  assert.deepEqual([0, 0.0046, 0.343, 56.2, 1234.5, NaN].map(dollars),
    ["$0", "$0.0046", "$0.343", "$56.20", "$1,234.50", "unknown"]);
  assert.deepEqual([0, 250, 20_000, 65_000, 3_600_000].map(moment),
    ["0", "250 ms", "20 s", "1 min 05", "1 h 00"]);
});
