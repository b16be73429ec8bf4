// Numbers as text, the way every view prints them.
const two = (n) => String(Math.floor(n)).padStart(2, "0");

export function duration(ms) {
  if (ms == null || Number.isNaN(ms)) return "unknown";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 59.95) return `${s.toFixed(s < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two((whole % 3600) / 60)} min`;
}

export function moment(ms) {
  const s = Math.round(ms) / 1000;
  if (s === 0) return "0";
  if (s < 1) return `${Math.round(ms)} ms`;
  if (s < 60) return `${+s.toFixed(3)} s`;
  const m = Math.floor(s / 60), rest = +(s - m * 60).toFixed(3);
  const tail = rest ? ` ${rest < 10 ? "0" : ""}${rest}` : "";
  if (m < 60) return `${m} min${tail}`;
  return `${Math.floor(m / 60)} h ${two(m % 60)}${tail && ` min${tail}`}`;
}

export function dollars(usd) {
  if (usd == null || Number.isNaN(usd)) return "unknown";
  if (usd === 0) return "$0";
  const places = usd < 0.01 ? 4 : usd < 1 ? 3 : 2;
  return `$${usd.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places })}`;
}

export const count = (n) => n.toLocaleString("en");
