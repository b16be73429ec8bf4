// Layout without a page: columns, places, ticks, captions, the next step. Tested by node.
export const BAR = 15, ROW = 35, STRIP = 8, THIN = 18, UNKNOWN = 0xffffffff, STRUCTURE = 12;
const TIMES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5,
  6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 288e5, 864e5];
const COLUMNS = [["start", Float64Array], ["took", Float32Array], ["cost", Float32Array],
  ["index", Uint32Array], ["slot", Uint32Array], ["seq", Uint32Array], ["input", Uint32Array], ["output", Uint32Array],
  ["ordinal", Uint32Array], ["name", Uint32Array], ["kind", Uint8Array], ["lane", Uint8Array],
  ["row", Uint8Array], ["rowByKind", Uint8Array], ["status", Uint8Array], ["effect", Uint8Array],
  ["quality", Uint8Array]];

function bytes(view) {
  return view.buffer ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view;
}

export function unpack({ n, names }, view) {
  const buffer = bytes(view), out = { n, names };
  let at = 0;
  for (const [name, Kind] of COLUMNS) {
    out[name] = new Kind(buffer, at, n);
    at += n * Kind.BYTES_PER_ELEMENT;
  }
  return out;
}

export function unpackOverview({ a, b, bins, strips }, view) {
  const buffer = bytes(view);
  return { a, b, bins, strips, errors: new Uint32Array(buffer, 0, bins),
    skyline: new Uint8Array(buffer, 4 * bins, bins),
    cover: strips.map((_, i) => new Uint8Array(buffer, (5 + i) * bins, bins)) };
}

// One step as an object; places are on the axis of `by`.
export function stepAt(cols, i, by, total) {
  const step = { name: cols.names[cols.name[i]] };
  for (const [key] of COLUMNS) if (key !== "name") step[key] = cols[key][i];
  step.a = placeOf(cols, i, by);
  step.b = endOf(cols, i, by, total);
  return step;
}

export const placeOf = (cols, i, by) => by === "time" ? cols.start[i] : cols.slot[i];

export function endOf(cols, i, by, total) {
  if (by !== "time") return cols.slot[i] + 0.9;
  if (Number.isNaN(cols.took[i])) return cols.status[i] === 2 ? total : cols.start[i];
  return cols.start[i] + cols.took[i];
}

export const laneOf = (cols, i, lanes) => lanes === "kind" ? cols.kind[i] : cols.lane[i];

export function rowOf(cols, i, by, lanes) {
  if (by !== "time") return 0;
  return lanes === "kind" ? cols.rowByKind[i] : cols.row[i];
}

// Where a step stands in its lane: structure is a line above the calls that it holds.
export function stand(lane, kind, row, { by, lanes }) {
  if (kind !== STRUCTURE || lanes === "kind") return { y: lane.y + 2 + row * ROW, h: BAR };
  if (lane.thin || by !== "time") return { y: lane.y + 4, h: 8 };
  return { y: lane.y - 1, h: 2 };
}

export function ticks([a, b], width, by, gap = 88) {
  const most = Math.max(1, width / gap), span = b - a;
  let step = by === "time" ? TIMES.find((s) => span / s <= most) : undefined;
  if (!step) {
    const power = 10 ** Math.floor(Math.log10(Math.max(span / most, 1e-9)));
    step = [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= most);
    if (by !== "time") step = Math.max(1, step);
  }
  const out = [];
  for (let k = Math.ceil(a / step - 1e-9) || 0; k * step <= b; k++) out.push(k * step);
  return out;
}

export function clamp([a, b], end, least) {
  const span = Math.min(Math.max(b - a, least), end);
  const from = Math.min(Math.max(0, (a + b - span) / 2), end - span);
  return [from, from + span];
}

export function zoom([a, b], at, factor, end, least) {
  const span = Math.min(Math.max((b - a) * factor, least), end);
  const from = Math.min(Math.max(0, at - ((at - a) / (b - a)) * span), end - span);
  return [from, from + span];
}

// Bars inside a stretch, in pixels: never under 2 wide, one pixel of air when there is room.
export function bars(cols, [a, b], width, { by, lanes, total, hidden }) {
  const scale = width / (b - a), out = [];
  for (let i = 0; i < cols.n; i++) {
    const from = placeOf(cols, i, by), to = endOf(cols, i, by, total);
    if (to < a || from > b || hidden.has(cols.kind[i])) continue;
    const x = Math.min(width - 2, Math.max(-9, (from - a) * scale)), full = Math.min(width + 9, (to - a) * scale) - x;
    out.push({ i, id: cols.index[i], x, w: Math.max(2, full - (full > 4 ? 1 : 0)), kind: cols.kind[i],
      lane: laneOf(cols, i, lanes), row: rowOf(cols, i, by, lanes), name: cols.name[i],
      plain: cols.kind[i] === STRUCTURE && lanes !== "kind",
      bad: cols.status[i] === 1, open: cols.status[i] === 2 });
  }
  return out;
}

// The same reduction as the library's overview, for steps that are already here.
export function strips(cols, [a, b], bins, { by, lanes, total }) {
  const out = { a, b, bins, strips: [], cover: [], errors: new Uint32Array(bins),
    skyline: new Uint8Array(bins) };
  const scale = bins / (b - a), busy = new Map(), sum = new Float64Array(bins);
  const calls = Array.prototype.some.call(cols.kind, (kind) => kind !== STRUCTURE);
  for (let i = 0; i < cols.n; i++) {
    const from = (placeOf(cols, i, by) - a) * scale, to = (endOf(cols, i, by, total) - a) * scale;
    if (to < 0 || from > bins) continue;
    const key = laneOf(cols, i, lanes) * 256 + cols.kind[i];
    if (!busy.has(key)) busy.set(key, { part: new Float64Array(bins), least: new Uint8Array(bins) });
    const strip = busy.get(key), last = Math.min(bins - 1, Math.floor(to));
    if (from >= 0) strip.least[Math.min(bins - 1, Math.floor(from))] = 1;
    for (let j = Math.max(0, Math.floor(from)); j <= last; j++) {
      const part = Math.max(0, Math.min(j + 1, to) - Math.max(j, from));
      strip.part[j] += part;
      if (!calls || cols.kind[i] !== STRUCTURE) sum[j] += part;
    }
    if (cols.status[i] === 1) out.errors[Math.max(0, last)]++;
  }
  for (const key of [...busy.keys()].sort((p, q) => p - q)) {
    out.strips.push([key >> 8, key & 255]);
    const { part, least } = busy.get(key), share = (v) => Math.min(255, Math.ceil(v * 255 - 1e-6));
    out.cover.push(Uint8Array.from(part, (v, j) => Math.max(least[j], share(v))));
  }
  const top = Math.max(1e-9, ...sum);
  sum.forEach((v, j) => { out.skyline[j] = Math.ceil((v / top) * 255); });
  return out;
}

// What a strip shows in each cell of a stretch: the mean of its bins, but never nothing of something.
export function resample(strip, { a, b, bins }, [from, to], cells) {
  const out = new Float32Array(cells), scale = bins / (b - a), cell = (to - from) / cells;
  for (let j = 0; j < cells; j++) {
    const p = Math.floor((from + j * cell - a) * scale + 1e-9);
    const q = Math.max(p + 1, Math.ceil((from + (j + 1) * cell - a) * scale - 1e-9));
    let sum = 0;
    for (let k = Math.max(0, p); k < Math.min(bins, q); k++) sum += strip[k];
    out[j] = sum ? Math.max(sum / (q - p), 0.5) / 255 : 0;
  }
  return out;
}

// Names under bars: equal neighbours of a row share one, and `skip` is printed elsewhere.
export function captions(shown, skip) {
  const rows = new Map();
  for (const bar of shown) {
    const key = bar.lane * 64 + bar.row;
    if (skip[bar.lane] === bar.name || bar.plain) continue;
    if (!rows.has(key)) rows.set(key, []);
    const groups = rows.get(key), last = groups.at(-1);
    if (last && last.name === bar.name) { last.n++; last.x1 = Math.max(last.x1, bar.x + bar.w); }
    else groups.push({ name: bar.name, lane: bar.lane, row: bar.row, n: 1, x0: bar.x,
      x1: bar.x + bar.w });
  }
  return [...rows.values()].flatMap((groups) => groups.map((group, i) =>
    ({ ...group, until: groups[i + 1]?.x0 ?? Infinity })));
}

// One mark per `gap` pixels.
export function apart(xs, gap = 9) {
  const out = [];
  for (const x of [...xs].sort((p, q) => p - q))
    if (!out.length || x - out.at(-1) >= gap) out.push(x);
  return out;
}

// The lanes from top to bottom: y, height and how many rows; `dense` and bars share one height
// where steps are fetched, so that zooming does not move the page.
export function stack(lanes, { dense, fixed, by }) {
  let y = 0;
  return lanes.map((lane) => {
    const rows = by === "time" ? lane.rows : 1;
    const tall = lane.thin ? THIN : rows * ROW + 2, flat = lane.kinds.length * STRIP + 8;
    const h = fixed ? Math.max(tall, flat) : dense ? flat : tall;
    const head = lane.heading ? 22 : 0, gap = lane.heading && y ? 44 : 0;
    const placed = { ...lane, y: y + gap + head, h, top: y + gap };
    y += gap + head + h;
    return placed;
  });
}

// The index in `cols` of the step to go to, or -1; the kernel answers the same for long runs.
export function next(cols, from, to, { lanes, hidden, by, total, text = "" }) {
  const shown = (i) => !hidden.has(cols.kind[i]);
  const scan = (step, ok) => {
    const start = from < 0 ? (step > 0 ? 0 : cols.n - 1) : from + step;
    for (let i = start; i >= 0 && i < cols.n; i += step) if (shown(i) && ok(i)) return i;
    return -1;
  };
  const around = (step, ok) => {
    const i = scan(step, ok);
    if (i >= 0 || from < 0) return i;
    from = -1;
    return scan(step, ok);
  };
  const find = (i) => cols.names[cols.name[i]].toLowerCase().includes(text.toLowerCase());
  switch (to) {
    case "first": from = -1; return scan(1, () => true);
    case "last": from = -1; return scan(-1, () => true);
    case "next": return scan(1, () => true);
    case "previous": return scan(-1, () => true);
    case "next of kind": return scan(1, (i) => from < 0 || cols.kind[i] === cols.kind[from]);
    case "previous of kind": return scan(-1, (i) => from < 0 || cols.kind[i] === cols.kind[from]);
    case "next error": return around(1, (i) => cols.status[i] === 1);
    case "previous error": return around(-1, (i) => cols.status[i] === 1);
    case "find": return text ? around(1, find) : -1;
    default: return beside(cols, from, to === "lane below" ? 1 : -1, { lanes, shown, by, total });
  }
}

function beside(cols, from, step, { lanes, shown, by, total }) {
  if (from < 0) return 0;
  const here = laneOf(cols, from, lanes);
  const middle = (placeOf(cols, from, by) + endOf(cols, from, by, total)) / 2;
  let best = -1, lane = -1, far = Infinity;
  for (let i = 0; i < cols.n; i++) {
    const its = laneOf(cols, i, lanes);
    if (!shown(i) || (its - here) * step <= 0) continue;
    const away = Math.max(placeOf(cols, i, by) - middle, middle - endOf(cols, i, by, total), 0);
    const nearer = lane < 0 || (its - lane) * step < 0;
    if (nearer || (its === lane && away < far)) { best = i; lane = its; far = away; }
  }
  return best;
}

// A lane for each kind: the strips of all lanes added up.
export function merged(overview) {
  const sums = new Map();
  overview.strips.forEach(([, kind], k) => {
    if (!sums.has(kind)) sums.set(kind, new Uint8Array(overview.bins));
    const sum = sums.get(kind);
    for (let j = 0; j < sum.length; j++) sum[j] = Math.min(255, sum[j] + overview.cover[k][j]);
  });
  const kinds = [...sums.keys()].sort((p, q) => p - q);
  return { ...overview, strips: kinds.map((kind) => [kind, kind]),
    cover: kinds.map((kind) => sums.get(kind)) };
}
