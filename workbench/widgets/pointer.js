// Mouse, pen and wheel on the plot of a timeline.
import { stand, stepAt } from "./layout.js";
import { MAP } from "./paint.js";

export function spot(view, event) {
  const box = view.canvas.getBoundingClientRect(), x = event.clientX - box.left;
  const y = event.clientY - box.top + view.scroll.scrollTop;
  const at = view.view[0] + (x / view.width) * (view.view[1] - view.view[0]);
  const away = (bar) => Math.max(bar.x - x, x - bar.x - bar.w, 0);
  const over = (bar) => {
    const lane = view.stack.find((one) => one.code === bar.lane);
    if (!lane || away(bar) > 2) return false;
    const { y: top, h } = stand(lane, bar.kind, bar.row, view.options());
    return y >= top - 2 && y <= top + h + 3;
  };
  const inside = event.clientY >= box.top && event.clientY <= box.bottom && x >= -2;
  const found = inside && view.shown ? view.shown.filter(over) : [];
  const [bar] = found.sort((p, q) => p.plain - q.plain || away(p) - away(q) || p.w - q.w);
  return { at, step: bar ? stepAt(view.cols, bar.i, view.axis, view.facts.total) : null };
}

function wheel(view, event) {
  if (!event.ctrlKey && !view.plot.contains(document.activeElement)) return;
  event.preventDefault();
  const [a, b] = view.view, { deltaX, deltaY, shiftKey } = event;
  if (shiftKey || Math.abs(deltaX) > Math.abs(deltaY)) {
    const by = ((deltaX || deltaY) / view.width) * (b - a);
    view.look([a + by, b + by]);
  } else view.near(Math.exp(Math.max(-80, Math.min(80, deltaY)) * 0.004), spot(view, event).at);
}

function press(view, event) {
  if (event.button) return;
  view.hideCard();
  const head = event.target === view.top, map = head && event.offsetY < MAP;
  const wide = view.view[1] - view.view[0], full = wide >= view.span * 0.999;
  const left = view.canvas.getBoundingClientRect().left;
  const whole = (x) => ((x - left) / view.width) * view.span;
  const begin = event.clientX;
  if (map && !full) view.look([whole(begin) - wide / 2, whole(begin) + wide / 2]);
  const [a, b] = view.view;
  let moved = false;
  const drag = ({ clientX }) => {
    if (!moved && Math.abs(clientX - begin) < 4) return;
    moved = true;
    const by = ((clientX - begin) / view.width) * (map ? view.span : -wide);
    if (map && full) view.look([whole(begin), whole(clientX)].sort((p, q) => p - q));
    else view.look([a + by, b + by]);
  };
  const drop = (last) => {
    removeEventListener("pointermove", drag);
    removeEventListener("pointerup", drop);
    const { step } = moved || head ? {} : spot(view, last);
    if (step) view.select(step, last.ctrlKey || last.metaKey || last.shiftKey);
  };
  addEventListener("pointermove", drag);
  addEventListener("pointerup", drop);
}

function hover(view, event) {
  clearTimeout(view.still);
  const { step } = spot(view, event);
  if (view.card && step?.index !== view.hover?.index) view.hideCard();
  if (step && !event.buttons) view.still = setTimeout(() => view.showCard(step), 200);
}

function fit(view, event) {
  const { step } = spot(view, event);
  if (!step) return view.look([0, view.span]);
  const air = (step.b - step.a) * 0.4 + 1e-3;
  return view.look([step.a - air, step.b + air]);
}

export function point(view) {
  const { plot } = view;
  plot.addEventListener("wheel", (event) => wheel(view, event), { passive: false });
  plot.addEventListener("pointerdown", (event) => press(view, event));
  plot.addEventListener("pointermove", (event) => hover(view, event));
  plot.addEventListener("pointerleave", () => view.hideCard());
  plot.addEventListener("dblclick", (event) => fit(view, event));
}
