// Numbers and names as a person reads them; the same rules as the report's.

const MINUS = "−";
const NONE = "–";
const DATASETS = {
  cifar10: "CIFAR-10",
  fashion_mnist: "Fashion-MNIST",
  mnist: "MNIST",
  digits: "Digits",
  california_housing: "California Housing",
};
const METRICS = { accuracy: "accuracy (%)", mse: "MSE" };
const PERCENT = new Set(["accuracy"]);

const signs = (text) => text.replace("-", MINUS);
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** A count: 4,170. */
export function count(n) {
  return known(n) ? signs(n.toLocaleString("en-US", { maximumFractionDigits: 0 })) : NONE;
}

/** A number of things: 1 seed, 15 seeds. */
export function counted(n, noun, plural = `${noun}s`) {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}

/** The name of a dataset as it is printed. */
export function dataset(name) {
  return DATASETS[name] ?? name;
}

/** The name of a metric with its unit. */
export function metricTitle(metric) {
  return METRICS[metric] ?? metric ?? "metric";
}

function fourDigits(value) {
  if (Math.abs(value) < 10) return value.toFixed(4);
  return String(Number(value.toPrecision(4)));
}

/** A figure of a metric: 77.68 % or 0.1972. */
export function metric(value, name, unit = true) {
  if (!known(value)) return NONE;
  if (PERCENT.has(name)) return signs(value.toFixed(2)) + (unit ? " %" : "");
  return signs(fourDigits(value));
}

/** A signed difference: +0.75 points, −0.0012. */
export function difference(value, name, unit = true) {
  if (!known(value)) return NONE;
  const digits = PERCENT.has(name) ? 2 : 4;
  const text = value.toFixed(digits);
  if (Number(text) === 0) return (0).toFixed(digits);
  const signed = (value > 0 ? "+" : "") + signs(text);
  return unit && PERCENT.has(name) ? `${signed} points` : signed;
}

/** An interval: 76.51 to 77.35; signed for a difference. */
export function interval(low, high, name, signed = false) {
  if (!known(low) || !known(high)) return NONE;
  const write = signed ? difference : metric;
  return `${write(low, name, false)} to ${write(high, name, false)}`;
}

/** A p value: 0.031 or < 0.001. */
export function pValue(value) {
  if (!known(value)) return NONE;
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

/** Any value of a parameter. */
export function plain(value) {
  if (value === null || value === undefined || value === "") return NONE;
  if (typeof value === "number") return signs(String(Number(value.toPrecision(6))));
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** Seconds that were measured: 0.42 s, 7.3 s, and longer ones as `duration` has them. */
export function took(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

/** Seconds: 45 s, 3 min 20 s, 2 h 05 min, 3 d 4 h. */
export function duration(seconds) {
  if (!known(seconds)) return "unknown";
  const whole = Math.round(seconds);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Bytes in powers of ten: 512 B, 3.4 MB. */
export function bytes(n) {
  if (!known(n)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = n;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}

/** A pace: 178.2 a minute, 0.42 a minute. */
export function pace(perMinute) {
  if (!known(perMinute)) return NONE;
  return perMinute.toFixed(perMinute >= 10 || perMinute === 0 ? 0 : perMinute >= 1 ? 1 : 2);
}

/** A moment in the reader's time zone: 2026-11-28 08:31:12. */
export function moment(text) {
  if (!text) return NONE;
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A share of a whole in percent; never 100 before all is there. */
export function share(part, whole) {
  if (!whole) return "0 %";
  const percent = (100 * part) / whole;
  return `${part < whole ? Math.min(99, Math.floor(percent)) : 100} %`;
}

/** Words of a column: switch_epoch becomes "switch epoch". */
export function words(name) {
  return String(name).replaceAll("_", " ");
}

/** A key as a short text: the first ten characters of a trial's id. */
export function shortId(id) {
  return String(id).slice(0, 10);
}
