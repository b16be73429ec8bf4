"""The code of a cell that shows a small widget with bytes, a style and a static form."""

TOY = '''
import anywidget, traitlets

class Toy(anywidget.AnyWidget):
    _esm = """
    export default { render({ model, el }) {
      const box = document.createElement("button");
      const show = () => { box.textContent = `${model.get("n")}:${model.get("raw").byteLength}`; };
      box.id = "toy";
      box.addEventListener("keydown", (e) => { if (e.key === "ArrowRight") model.set("n", model.get("n") + 1); });
      model.on("change:n", show);
      show();
      el.append(box);
    } };
    """
    _css = "#toy { color: rgb(1, 2, 3); }"
    n = traitlets.Int(1).tag(sync=True)
    raw = traitlets.Bytes(b"abc").tag(sync=True)

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": "<p id='still'>still</p>"}, metadata

Toy(n=limit)
'''
