// The timeline of a run: what is shown, what is selected, and what the keys do.
import { KINDS } from "./glyphs.js";
import { count, moment } from "./figures.js";
import { bars, clamp, endOf, merged, next, ROW, stack, stepAt, strips, unpack, unpackOverview,
  zoom } from "./layout.js";
import { AXIS, Brush, MAP, paintHead, paintLanes } from "./paint.js";
import { button, card, codePanel, controls, costTable, h, header, headLabels, keyHints, keyTable,
  laneLabels, notes, putBeside, stepLine } from "./page.js";
import { Kernel } from "./kernel.js";
import { point } from "./pointer.js";

class Timeline {
  constructor(model, el) {
    this.model = model;
    this.hidden = new Set();
    this.selected = [];
    this.off = [];
    this.root = h("div", { class: "wb wb-timeline frame", "data-lm-suppress-shortcuts": "true" });
    el.append(this.root);
    this.kernel = new Kernel(model, { late: (words) => this.say(words),
      silent: () => { this.alone = true; this.remark(); },
      failed: (words) => { this.failure = words; this.remark(); },
      answered: () => {
        if (this.alone || this.failure) { this.alone = this.failure = null; this.remark(); }
        this.said = null;
      } });
    this.build();
    this.listen();
  }

  // ---- what there is to show
  read() {
    const saved = this.model.get("steps");
    this.facts = this.model.get("facts");
    this.all = saved.n == null ? null : unpack(saved, saved.data);
    this.by = this.model.get("by");
    this.lanes = this.model.get("lanes");
    this.axis = this.by !== "cost" ? this.by : this.facts.clock ? "time" : "order";
    this.span = this.axis === "time" ? this.facts.total : this.facts.slots;
    const view = this.model.get("view");
    this.view = view.length === 2 ? clamp(view, this.span, this.least()) : [0, this.span];
    this.detail = null;
    this.whole = this.facts.steps ? this.overview() : null;
  }
  least() { return Math.min(this.span, this.axis === "time" ? 0.5 : 3); }
  options() {
    return { by: this.axis, lanes: this.lanes, total: this.facts.total, hidden: this.hidden };
  }
  overview() {
    if (this.all) return strips(this.all, [0, this.span], 1024, this.options());
    const { meta, data } = this.model.get("overviews")[this.axis];
    const saved = unpackOverview(meta, data);
    return this.lanes === "kind" ? merged(saved) : saved;
  }
  covered() {
    const d = this.detail;
    return Boolean(d && d.a <= this.view[0] && d.b >= this.view[1]);
  }
  // The best there is for this view: steps, finer strips, or the saved overview.
  best() {
    const cols = this.all ?? (this.covered() && this.detail.cols);
    if (!cols) return { strips: this.covered() ? this.detail.strips : this.whole };
    const shown = bars(cols, this.view, this.width, this.options());
    if (shown.length <= 2 * this.width) return { cols, shown };
    return { cols, strips: strips(cols, this.view, Math.ceil(this.width / 2), this.options()) };
  }
  fetch() {
    if (this.all || (this.covered() && this.detail.cols)) return;
    const [a, b] = this.view, wide = b - a, have = this.covered() ? this.detail.strips : this.whole;
    if ((have.b - have.a) / have.bins <= (3 * wide) / this.width) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => {
      const from = Math.max(0, a - wide / 2), to = Math.min(this.span, b + wide / 2);
      const bins = Math.ceil((((to - from) / wide) * this.width) / 2);
      const { axis, lanes } = this, words = `Fetching steps from ${this.tick(from)} to ${this.tick(to)}`;
      this.kernel.ask({ ask: "window", a: from, b: to, by: axis, lanes, bins }, (reply, buffers) => {
        if (axis !== this.axis || lanes !== this.lanes) return;
        this.detail = { a: from, b: to };
        if (reply.steps) this.detail.cols = unpack(reply.steps, buffers[0]);
        else this.detail.strips = unpackOverview(reply.overview, buffers[0]);
        this.draw();
      }, words);
    }, 40);
  }

  // ---- the page
  build() {
    this.read();
    this.sel = h("div", { class: "sel grow", role: "status", "aria-live": "polite" });
    this.hints = h("div", { class: "keys" });
    this.noteBox = h("div");
    [this.bar, this.body] = [h("div"), h("div")];
    this.panel = h("div", { class: "panel", hidden: "" });
    this.top = h("canvas");
    this.canvas = h("canvas");
    this.topGut = h("div", { class: "gut" });
    this.gut = h("div", { class: "gut" });
    const hold = (canvas) => h("div", { class: "hold" }, canvas);
    this.space = h("div", { class: "space" }, this.gut, hold(this.canvas));
    this.scroll = h("div", { class: "scroll", onscroll: () => this.draw() }, this.space);
    this.plot = h("div", { class: "plot", tabindex: "0", role: "application",
      "aria-roledescription": "timeline", "aria-label": this.facts.label,
      "data-lm-suppress-shortcuts": "true" },
    h("div", { class: "top" }, this.topGut, hold(this.top)), this.scroll);
    this.costs = costTable(this.facts.costs, (k) => this.pick(k));
    const foot = h("div", { class: "foot" }, this.sel, this.hints);
    this.root.replaceChildren(header(this.facts), this.bar, this.noteBox, this.body, this.panel,
      this.facts.steps ? foot : "");
    point(this);
    this.arrange();
    this.remark();
    this.take();
  }
  arrange() {
    const set = (name) => (value) => { this.model.set(name, value); this.model.save_changes(); };
    const toggle = (kind) => {
      if (!this.hidden.delete(kind)) this.hidden.add(kind);
      this.draw();
      return !this.hidden.has(kind);
    };
    const { by, lanes, hidden } = this, error = () => this.go("next error");
    this.bar.replaceChildren(controls(this.facts, { by, lanes, hidden, set, toggle, error }));
    this.body.replaceChildren(this.facts.steps ? this.focus() : "");
    this.hints.replaceChildren(...keyHints(by === "cost"));
    this.topGut.replaceChildren(...headLabels(this.facts, this.axis, { map: MAP, axis: AXIS }));
    const list = this.facts[lanes === "kind" ? "kind_lanes" : "lanes"];
    this.list = list.map((lane, code) => ({ code, ...lane }));
    this.labelled = this.footed = null;
    this.draw();
  }
  focus() { return this.by === "cost" ? this.costs : this.plot; }
  remark() {
    const { steps } = this.facts, more = [];
    if (this.failure)
      more.push({ tone: "bad", head: "The kernel could not answer.", text: this.failure });
    if (this.alone) more.push({ tone: "", head: "Overview only.",
      text: `${count(steps)} steps in ${count(this.whole.bins)} bins. Single steps come when the kernel is free, or the cell is run.` });
    this.noteBox.replaceChildren(...notes([...this.facts.notes, ...more]));
    this.said = null;
    this.foot();
  }

  // ---- drawing
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }
  paint() {
    const begun = performance.now();
    if (this.by !== "cost" && this.facts.steps) {
      this.width = this.canvas.parentNode.clientWidth;
      if (!this.width) return;
      this.picture(this.best());
      this.fetch();
    }
    this.foot();
    this.painted = performance.now();
    this.took = this.painted - begun;
  }
  picture(best) {
    this.brush ??= new Brush(this.root);
    this.dense = Boolean(best.strips);
    this.stack = stack(this.list, { dense: this.dense, fixed: !this.all, by: this.axis });
    const last = this.stack.at(-1), tall = last.y + last.h, most = this.model.get("height") || 560;
    const key = `${this.dense}${this.lanes}${this.axis}`;
    if (this.labelled !== key) this.gut.replaceChildren(...laneLabels(this.stack, this.dense));
    this.labelled = key;
    this.space.style.height = `${tall}px`;
    this.scroll.style.maxHeight = `${most}px`;
    const { facts, axis, width, view, span, whole, hidden, hover } = this, { names } = best.cols || {};
    const scene = { width, view, span, whole, hidden, by: axis, order: this.options(), errors: facts.errors,
      failures: this.failures(best), height: Math.min(tall, most), scroll: this.scroll.scrollTop,
      lanes: this.stack, turns: axis === "time" && !this.dense ? facts.turns : [],
      end: facts.ended ? span : 0, shown: best.shown, strips: best.strips, names,
      skip: names ? this.list.map(({ main }) => main ? names.indexOf(main) : -1) : [],
      selected: this.selected.map((step) => this.place(step)), hover: hover && this.place(hover),
      links: facts.links, only: facts.links && new Set(facts.links.only) };
    paintHead(this.brush, this.top, scene);
    paintLanes(this.brush, this.canvas, scene);
    this.shown = best.shown;
    this.cols = best.cols;
  }
  failures({ cols }) {
    const out = [], { total } = this.facts;
    if (cols) for (let i = 0; i < cols.n; i++)
      if (cols.status[i] === 1) out.push(endOf(cols, i, this.axis, total));
    if (cols) return out;
    const { a, b, bins, errors } = this.covered() ? this.detail.strips : this.whole;
    errors.forEach((n, j) => { if (n) out.push(a + ((j + 0.5) / bins) * (b - a)); });
    return out;
  }
  // Where a step lies in the present arrangement.
  place(step) {
    const { kind, took, start, slot } = step, time = this.axis === "time", byKind = this.lanes === "kind";
    const long = Number.isNaN(took) ? (step.status === 2 ? this.facts.total - start : 0) : took;
    return { kind, lane: byKind ? kind : step.lane, row: !time ? 0 : byKind ? step.rowByKind : step.row,
      a: time ? start : slot, b: time ? start + long : slot + 0.9 };
  }
  tick(at) { return this.axis === "time" ? moment(at) : `#${count(Math.floor(at) + 1)}`; }

  // ---- words below the picture
  say(words) {
    this.sel.replaceChildren(h("span", { class: "muted" }, words));
    this.said = words;
    this.footed = null;
  }
  foot() {
    const step = this.selected.at(-1), row = this.facts.costs.rows[this.row];
    const key = [this.by, step?.index, this.selected.length, this.row, this.dense].join();
    if (this.said || this.footed === key) return;
    this.footed = key;
    if (this.by === "cost")
      this.sel.replaceChildren(h("span", { class: "muted" }, row ? row.words : this.facts.costs.finding),
        row ? button("Inspect", () => this.code("calls", row.seqs.join(", ")), "link") : "");
    else if (step) this.sel.replaceChildren(...stepLine(step, this.facts,
      { more: this.selected.length, inspect: () => this.inspect() }));
    else this.sel.replaceChildren(h("span", { class: "muted" }, this.idle()));
  }
  idle() {
    const errors = this.facts.errors ? `; e goes to the next of ${count(this.facts.errors)} errors` : "";
    if (this.dense) return `Height is how busy the strip was. Zoom in to see single steps${errors}.`;
    return "Nothing selected. Click a step, or press → to start at the first.";
  }
  open(...content) { this.panel.hidden = false; this.panel.replaceChildren(...content); }
  shut() {
    if (this.panel.hidden) return false;
    this.panel.hidden = true;
    this.focus().focus();
    return true;
  }
  code(name, seq) {
    const text = this.facts.code[name].replace("{seq}", () => seq);
    this.open(...codePanel(text, () => this.shut()));
    this.panel.querySelector("button").focus();
  }
  inspect() {
    const step = this.selected.at(-1);
    if (step) this.code(KINDS[step.kind] === "step" ? "step" : "call", step.seq);
  }
  fork() {
    const step = this.selected.at(-1);
    if (!step) this.say("Select a call first: press → for the first.");
    else if (KINDS[step.kind] === "step") this.say("This is structure. A fork begins at a call.");
    else this.code("fork", step.seq);
  }
  help() {
    this.open(keyTable(), h("div", { class: "acts" }, button("Close", () => this.shut())));
    this.panel.querySelector("button").focus();
  }
  find() {
    const keys = (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.shut();
      if (event.key === "Enter") this.go("find", box.value);
    };
    const box = h("input", { type: "text", "aria-label": "Find a step by name", onkeydown: keys });
    this.open(h("div", { class: "acts" }, h("label", {}, "find a name, Enter goes to the next"), box));
    box.focus();
  }
  pick(k) {
    this.row = Math.max(0, Math.min(this.facts.costs.rows.length - 1, k));
    const rows = [...this.costs.querySelectorAll("tbody tr")];
    rows.forEach((tr, i) => tr.setAttribute("aria-selected", String(i === this.row)));
    this.said = null;
    this.foot();
  }

  // ---- going about
  go(to, text = "") {
    const from = this.selected.at(-1)?.index ?? -1, { total } = this.facts;
    this.said = null;
    if (this.all) {
      const i = to === "index" ? Number(text) : next(this.all, from, to, { ...this.options(), text });
      return i < 0 ? this.nothing(to) : this.select(stepAt(this.all, i, this.axis, total));
    }
    const { axis: by, lanes } = this, hidden = [...this.hidden];
    return this.kernel.ask({ ask: "go", to, from, text, by, lanes, hidden }, ({ steps }, [data]) => {
      if (steps.n) this.select(stepAt(unpack(steps, data), 0, this.axis, total));
      else this.nothing(to);
    }, "Looking for the step");
  }
  nothing(to) {
    if (to === "find") this.say("No step of this name.");
    else if (to.endsWith("error")) this.say("No errors among the steps shown.");
    this.foot();
  }
  select(step, add = false) {
    const has = this.selected.findIndex((one) => one.index === step?.index);
    if (!step) this.selected = [];
    else if (!add) this.selected = [step];
    else if (has >= 0) this.selected.splice(has, 1);
    else this.selected.push(step);
    this.said = null;
    if (step && !add) this.reveal(this.place(step));
    this.save();
    this.draw();
  }
  reveal({ a, b, lane, row }) {
    const [from, to] = this.view, wide = to - from;
    if (b <= from || a >= to || (b - a < wide && (a < from || b > to))) {
      const left = b - a > wide ? a : (a + b - wide) / 2;
      this.look([left, left + wide]);
    }
    const line = this.stack?.find((one) => one.code === lane);
    if (!line || !this.scroll.clientHeight) return;
    const y = line.y + row * ROW, seen = this.scroll.clientHeight, top = this.scroll.scrollTop;
    if (y < top || y + ROW > top + seen) this.scroll.scrollTop = Math.max(0, y - seen / 2);
  }
  look(view) {
    this.view = clamp(view, this.span, this.least());
    this.save();
    this.draw();
  }
  near(factor, at) {
    if (at != null) return this.look(zoom(this.view, at, factor, this.span, this.least()));
    const step = this.selected.at(-1), [a, b] = this.view, half = ((b - a) * factor) / 2;
    const place = step ? this.place(step) : { a, b }, middle = (place.a + place.b) / 2;
    return this.look([middle - half, middle + half]);
  }
  save() {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => {
      const whole = this.view[0] === 0 && this.view[1] === this.span;
      this.model.set("picked", this.selected.map((step) => step.index));
      this.model.set("view", whole ? [] : [...this.view]);
      this.model.save_changes();
    }, 150);
  }
  // Take over a selection that was saved or made in Python.
  take() {
    const wanted = this.model.get("picked");
    if (String(wanted) === String(this.selected.map((step) => step.index))) return;
    if (!wanted.length) this.select(null);
    else if (this.all) {
      const all = wanted.map((i) => stepAt(this.all, i, this.axis, this.facts.total));
      this.select(all.at(-1));
      this.selected = all;
    } else this.go("index", String(wanted.at(-1)));
  }

  // ---- listening
  listen() {
    const { root, model } = this;
    const watch = (name, act) => { model.on(name, act); this.off.push(() => model.off(name, act)); };
    const turn = () => { model.set("view", []); this.hideCard(); this.said = null; this.read(); this.arrange();
      const step = this.selected.at(-1);
      if (step) this.go("index", String(step.index)); };
    watch("change:facts", () => { this.selected = []; this.build(); });
    watch("change:by", turn);
    watch("change:lanes", turn);
    watch("change:picked", () => this.take());
    const recolour = () => { this.brush = null; this.draw(); };
    const theme = new MutationObserver(() => { recolour(); setTimeout(recolour, 400); });
    theme.observe(document.body, { attributes: true,
      attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const size = new ResizeObserver(() => this.draw());
    size.observe(root);
    for (const query of ["(forced-colors: active)", "(prefers-color-scheme: dark)"]) {
      const media = matchMedia(query);
      media.addEventListener("change", recolour);
      this.off.push(() => media.removeEventListener("change", recolour));
    }
    this.off.push(() => theme.disconnect(), () => size.disconnect());
    root.addEventListener("keydown", (event) => this.key(event));
  }
  key(event) {
    const { key, target } = event;
    if (event.altKey || event.metaKey || event.ctrlKey || target.tagName === "INPUT") return;
    if (target.tagName === "BUTTON" && (key === "Enter" || key === " ")) return;
    const act = key === "Escape" ? () => this.shut() || this.hideCard() || this.select(null)
      : key === "?" ? () => this.help() : (this.by === "cost" ? this.costKeys() : this.keys(event))[key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
  costKeys() {
    const row = this.facts.costs.rows[this.row];
    return { ArrowDown: () => this.pick((this.row ?? -1) + 1), ArrowUp: () => this.pick((this.row ?? 1) - 1),
      Enter: row && (() => this.code("calls", row.seqs.join(", "))) };
  }
  keys({ shiftKey }) {
    const kind = shiftKey ? " of kind" : "", closer = () => this.near(0.5), away = () => this.near(2);
    return { ArrowRight: () => this.go(`next${kind}`), ArrowLeft: () => this.go(`previous${kind}`),
      ArrowUp: () => this.go("lane above"), ArrowDown: () => this.go("lane below"),
      Home: () => this.go("first"), End: () => this.go("last"), "+": closer, "=": closer, "-": away,
      "−": away, 0: () => this.look([0, this.span]), e: () => this.go("next error"),
      E: () => this.go("previous error"), Enter: () => this.inspect(), f: () => this.fork(),
      "/": () => this.find() };
  }

  // ---- the card beside a step
  hideCard() {
    clearTimeout(this.still);
    if (!this.card) return false;
    this.card.remove();
    this.card = this.hover = null;
    this.draw();
    return true;
  }
  showCard(step) {
    if (this.hover?.index === step.index) return;
    this.hideCard();
    const { node, row } = card(step, this.facts);
    this.hover = step;
    this.card = node;
    this.plot.append(node);
    this.beside(step);
    this.kernel.ask({ ask: "step", index: step.index }, ({ facts }) => {
      if (this.card !== node) return;
      facts.forEach(([label, text]) => row(label, text, true));
      this.beside(step);
    });
    this.draw();
  }
  beside(step) {
    const place = this.place(step), lane = this.stack.find((one) => one.code === place.lane);
    if (!lane) return;
    const box = this.plot.getBoundingClientRect(), hold = this.canvas.getBoundingClientRect();
    const scale = this.width / (this.view[1] - this.view[0]), left = hold.left - box.left;
    const [x0, x1] = [place.a, place.b].map((at) => left + (at - this.view[0]) * scale);
    const y = hold.top - box.top + lane.y + place.row * ROW - this.scroll.scrollTop;
    putBeside(this.card, box, { x0, x1, y });
  }
  close() {
    this.off.forEach((act) => act());
    [this.soon, this.saving, this.still].forEach(clearTimeout);
    cancelAnimationFrame(this.frame);
    this.kernel.close();
  }
}

function render({ model, el }) {
  const view = new Timeline(model, el);
  el.timeline = view;
  return () => view.close();
}

export default { render };
