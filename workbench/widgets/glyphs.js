// Kinds in the order of their codes, and a glyph for each: 12 by 12, filled, even-odd.
export const KINDS = ["model", "retriever", "tool", "planner", "validator", "safety", "http",
  "clock", "random", "env", "human", "agent", "step"];
export const EFFECTS = ["", "pure", "read", "write", "irreversible", "unknown"];
export const QUALITIES = ["", "full", "redacted", "truncated", "reconstructed", "lossy"];
export const GLYPHS = {
  model: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1Z",
  tool: "M1.5 1.5h9v9h-9Z",
  retriever: "M.6 1.6h10.8L6 11.2Z",
  planner: "M6 .3 11.7 6 6 11.7.3 6Z",
  validator: "M.8 6.5 2.6 4.7 4.7 6.8 9.4 1.8 11.2 3.6 4.8 10.4Z",
  safety: "M6 .5 11 2.2V6c0 3-2.1 4.8-5 5.6C3.1 10.8 1 9 1 6V2.2Z",
  human: "M6 .6a2.6 2.6 0 1 1 0 5.2A2.6 2.6 0 1 1 6 .6ZM1 11.6C1 8.4 3.2 6.8 6 6.8s5 1.6 5 4.8Z",
  http: "M.8 2.3h6V.4l4.4 2.8L6.8 6V4.1h-6ZM11.2 9.7h-6v1.9L.8 8.8 5.2 6v1.9h6Z",
  clock: "M6 .5a5.5 5.5 0 1 0 0 11A5.5 5.5 0 1 0 6 .5ZM6 2.2a3.8 3.8 0 1 1 0 7.6A3.8 3.8 0 1 1 6 2.2Z"
    + "M5.2 3.2h1.5v2.5l1.7 1.1-.8 1.2-2.4-1.5Z",
  random: "M1 1h10v10H1ZM2.9 2.9v2h2v-2ZM7.1 7.1v2h2v-2Z",
  env: "M.8.8h4.4v1.8H2.7v6.8h2.5v1.8H.8ZM11.2.8H6.8v1.8h2.5v6.8H6.8v1.8h4.4Z",
  agent: "M6 .2 11.1 3.1v5.8L6 11.8.9 8.9V3.1ZM6 2.5 2.9 4.3v3.4L6 9.5l3.1-1.8V4.3Z",
  step: "M1 5h10v2H1Z",
  error: "M2.4 .9 6 4.5 9.6.9 11.1 2.4 7.5 6l3.6 3.6-1.5 1.5L6 7.5 2.4 11.1.9 9.6 4.5 6 .9 2.4Z",
  warn: "M6 .6 11.8 11.2H.2ZM5.2 4.3v3.6h1.6V4.3ZM5.2 8.6v1.4h1.6V8.6Z",
  running: "M6 .5a5.5 5.5 0 1 1-5.5 5.5H2.4A3.6 3.6 0 1 0 6 2.4Z",
  ok: "M.8 6.5 2.6 4.7 4.7 6.8 9.4 1.8 11.2 3.6 4.8 10.4Z",
  stop: "M2 2h8v8H2Z",
};
