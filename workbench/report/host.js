// Runs the anywidgets saved in this page: no kernel, no network. Whatever fails keeps its static form.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = (light) => { document.body.dataset.jpThemeLight = String(light); };
  theme(!dark.matches);
  dark.addEventListener("change", () => theme(!dark.matches));
  addEventListener("beforeprint", () => theme(true));
  addEventListener("afterprint", () => theme(!dark.matches));

  const tag = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  const saved = tag ? JSON.parse(tag.textContent).state : {};
  const models = new Map(), modules = new Map();

  function bytes({ encoding, data }) {
    if (encoding === "hex") return new DataView(Uint8Array.from(data.match(/../g) || [], (h) => parseInt(h, 16)).buffer);
    return new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
  }

  function model(id) {
    if (models.has(id)) return models.get(id);
    const state = { ...saved[id].state }, heard = {};
    for (const buffer of saved[id].buffers || []) {
      let place = state;
      for (const key of buffer.path.slice(0, -1)) place = place[key];
      place[buffer.path.at(-1)] = bytes(buffer);
    }
    const tell = (event, ...args) => (heard[event] || []).slice().forEach((f) => f(...args));
    const self = {
      get: (key) => state[key],
      set(key, value) {
        for (const [k, v] of Object.entries(typeof key === "object" ? key : { [key]: value })) {
          if (state[k] === v) continue;
          state[k] = v;
          tell(`change:${k}`, self, v);
          tell("change", self);
        }
      },
      save_changes() {},
      send() {},
      on(events, f) { for (const e of events.split(" ")) (heard[e] ||= []).push(f); },
      off(events, f) { for (const e of (events || Object.keys(heard).join(" ")).split(" ")) heard[e] = f ? (heard[e] || []).filter((g) => g !== f) : []; },
      widget_manager: { get_model: async (ref) => model(String(ref).replace("IPY_MODEL_", "")) },
    };
    models.set(id, self);
    return self;
  }

  async function load(esm) {
    if (!modules.has(esm)) {
      const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
      modules.set(esm, import(url).then((m) => (typeof m.default === "function" ? m.default() : m.default || m)).finally(() => URL.revokeObjectURL(url)));
    }
    return modules.get(esm);
  }

  function style(id, css) {
    if (!css || document.getElementById(`css-${id}`)) return;
    const sheet = document.createElement("style");
    sheet.id = `css-${id}`;
    sheet.textContent = css;
    document.head.append(sheet);
  }

  async function mount(id, el) {
    const { model_name: name, state } = saved[id];
    if (/Box(Model)?$/.test(name) && state.children) {
      el.style.cssText = `display:flex;gap:8px;flex-direction:${name.startsWith("V") ? "column" : "row"}`;
      for (const child of state.children) await mount(child.replace("IPY_MODEL_", ""), el.appendChild(document.createElement("div")));
      return;
    }
    if (!state._esm) throw new Error(`${name} is no anywidget`);
    style(state._anywidget_id || id, state._css);
    const widget = await load(state._esm), signal = new AbortController().signal;
    const experimental = { invoke: async () => { throw new Error("no kernel: this is a saved page"); } };
    await widget.initialize?.({ model: model(id), experimental, signal });
    await widget.render({ model: model(id), el, experimental, signal });
  }

  for (const view of document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')) {
    const box = document.createElement("div"), fallback = view.parentElement.querySelector(".wb-fallback");
    view.after(box);
    mount(JSON.parse(view.textContent).model_id, box).then(
      () => { if (fallback) fallback.hidden = true; },
      (error) => { console.warn("static form shown:", error); box.remove(); },
    );
  }
})();
