"""A page that shows one widget, with the widget's own Python answering its messages."""

import base64
import json

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><style>body { margin: 12px; }</style>
<body data-jp-theme-light="true"><div id="here"></div></body></html>"""

MOUNT = """async ({ esm, css, state, buffers }) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const view = (text) => new DataView(bytes(text).buffer);
  for (const [path, text] of buffers) {
    let at = state;
    for (const key of path.slice(0, -1)) at = at[key];
    at[path.at(-1)] = view(text);
  }
  const listeners = {};
  const fire = (name, ...args) => (listeners[name] ?? []).forEach((act) => act(...args));
  window.sent = [];
  window.model = {
    get: (name) => state[name],
    set(name, value) { state[name] = value; fire(`change:${name}`); },
    save_changes() { window.saved?.(JSON.stringify({ picked: state.picked, view: state.view,
      by: state.by, lanes: state.lanes })); },
    on(name, act) { (listeners[name] ??= []).push(act); },
    off(name, act) { listeners[name] = (listeners[name] ?? []).filter((one) => one !== act); },
    async send(content) {
      window.sent.push(content);
      if (!window.kernel) return;
      const { reply, buffers } = JSON.parse(await window.kernel(JSON.stringify(content)));
      fire("msg:custom", reply, buffers.map(view));
    },
  };
  const sheet = document.createElement("style");
  sheet.textContent = css;
  document.head.append(sheet);
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(url)).default;
  const el = document.querySelector("#here");
  const begun = performance.now();
  window.close_ = await widget.render({ model: window.model, el });
  window.view_ = el.timeline;
  await new Promise((done) => {
    const wait = () => (el.timeline.painted || !el.timeline.facts.steps ? done() : requestAnimationFrame(wait));
    wait();
  });
  return performance.now() - begun;
}"""


def parts(value, path=()):
    """Take the bytes out of a widget's state, as the protocol does."""
    if isinstance(value, bytes | memoryview):
        return None, [[list(path), base64.b64encode(bytes(value)).decode()]]
    if isinstance(value, dict):
        done = {key: parts(one, (*path, key)) for key, one in value.items()}
        return {k: v for k, (v, _) in done.items()}, [
            b for _, found in done.values() for b in found
        ]
    return value, []


def show(page, widget, tmp_path, *, kernel=True, theme="light"):
    """Show a widget; return the milliseconds to its first paint."""
    file = tmp_path / "host.html"
    file.write_text(PAGE.replace('light="true"', f'light="{str(theme == "light").lower()}"'))
    page.goto(file.as_uri())
    replies = []
    widget.send = lambda content, buffers=None: replies.append((content, buffers or []))

    def answer(text):
        widget._answer(widget, json.loads(text), [])
        reply, buffers = replies.pop()
        return json.dumps(
            {"reply": reply, "buffers": [base64.b64encode(b).decode() for b in buffers]}
        )

    def saved(text):
        for name, value in json.loads(text).items():
            setattr(widget, name, value)

    if kernel:
        page.expose_function("kernel", answer)
    page.expose_function("saved", saved)
    names = [name for name in widget.trait_names(sync=True) if not name.startswith("_")]
    names = [n for n in names if n not in {"layout", "tabbable", "tooltip", "comm", "keys"}]
    state, buffers = parts({name: getattr(widget, name) for name in names})
    esm, css = widget._esm, widget._css
    return page.evaluate(
        MOUNT, {"esm": str(esm), "css": str(css), "state": state, "buffers": buffers}
    )
