const el = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
};
const svg = (tag, attributes, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
};
const UNKNOWN = "–";
const known = (form) => (value) => (value === null || value === undefined ? UNKNOWN : form(value));
const number = (decimals) =>
  known((value) => value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replaceAll(",", "\u202f"));
const brief = known((value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)))));
const share = known((value) => (value > 0 && value < 0.01 ? `${(100 * value).toFixed(2)}\u202f%` : `${Math.round(100 * value)}\u202f%`));
const gigabytes = known((value) => `${(value / 1e9).toFixed(2)} GB`);
const duration = known((value) => {
  if (value < 60) return value < 0.1 ? "< 0.1 s" : `${value.toFixed(1)} s`;
  const minutes = Math.round(value / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
});
const WIDTH = 260, HEIGHT = 96, FOOT = 16;
// The image's cells as bars, the cohort's as a line, both as shares; bins are equally wide, whatever their scale.
const histogram = (title, edges, counts, cohort) => {
  const total = counts.reduce((a, b) => a + b, 0), all = cohort.reduce((a, b) => a + b, 0);
  const filled = counts.map((count, bin) => (count || cohort[bin] ? bin : -1)).filter((bin) => bin >= 0);
  if (!total || !filled.length) return null;
  const first = filled[0], last = filled[filled.length - 1] + 1, bin = WIDTH / (last - first);
  const top = Math.max(...counts.map((count) => count / total), ...cohort.map((count) => count / all));
  const height = (part) => (part / top) * (HEIGHT - 6);
  const figure = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + FOOT}`, role: "img", "aria-label": `${title}: bars of this image, line of the cohort` });
  let line = `M0 ${HEIGHT}`;
  for (let i = first; i < last; i += 1) {
    const x = (i - first) * bin, part = height(counts[i] / total);
    if (part) figure.append(svg("rect", { class: "bar", x: x + 0.5, y: HEIGHT - part, width: Math.max(bin - 1, 0.5), height: part }));
    line += `V${HEIGHT - height(cohort[i] / all)}H${x + bin}`;
  }
  figure.append(svg("path", { class: "cohort", d: `${line}V${HEIGHT}` }), svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }));
  const steps = Math.min(4, last - first);
  for (let step = 0; step <= steps; step += 1) {
    const at = first + Math.round(((last - first) * step) / steps);
    const anchor = step === 0 ? "start" : step === steps ? "end" : "middle";
    figure.append(svg("text", { x: (at - first) * bin, y: HEIGHT + 13, "text-anchor": anchor }, brief(edges[at])));
  }
  return el("figure", {}, el("figcaption", {}, title), figure);
};
