const index = JSON.parse(document.getElementById("index").textContent);
const placeOf = new Map(index.rows.map((row, place) => [row.sample, place]));
// Each image's details are a text of their own in the page, read when they are first needed.
const detailsOf = (place) => JSON.parse(document.getElementById(`details-${place}`).textContent);
const badge = (verdict) => el("span", { class: `status ${verdict}` }, verdict);
const picture = ([uri, whyNot], alt) =>
  uri ? el("img", { src: uri, alt, decoding: "async" }) : el("div", { class: "no-picture" }, whyNot);
const table = (heads, rows, classes = []) =>
  el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads[0] },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((text, i) => el("td", { class: classes[i] || null }, text)))))));
const block = (title, ...parts) => {
  const shown = parts.filter((part) => part !== null);
  return shown.length ? el("section", {}, el("h3", {}, title), ...shown) : null;
};
const facts = (row) => el("p", {}, badge(row.verdict), ` ${number(0)(row.n_cells)} cells`,
  row.cells_per_mpx === null ? "" : `, ${number(0)(row.cells_per_mpx)} per Mpx`,
  row.median_diameter_px === null ? "" : `, Ø ${number(1)(row.median_diameter_px)} px`,
  row.median_diameter_um === null ? "" : ` (${number(1)(row.median_diameter_um)} µm)`,
  row.mean_score === null ? "" : `, mean score ${brief(row.mean_score)}`,
  row.edge_share === null ? "" : `, ${share(row.edge_share)} at the edge`,
  row.ap50 === null ? "" : `, AP@0.5 ${row.ap50.toFixed(2)}`, ".");
const failure = (found) => found && el("div", { class: "failure" },
  el("h3", {}, `${found.error || "Error"}${found.rule ? ` in ${found.rule}` : ""}`),
  el("p", {}, found.found + (found.expected ? `; ${found.expected}` : "")),
  found.remedy ? el("p", { class: "remedy" }, found.remedy) : null,
  found.log ? el("p", {}, "log: ", el("code", {}, found.log)) : null);
// One strip holds all crops; each is a window on its square of it.
const crops = (details, kind) => {
  const [uri, whyNot] = details.crops, all = details.cells;
  const tiles = all.map((cell, place) => [cell, place]).filter(([cell]) => cell.kind === kind);
  if (!tiles.length) return null;
  return el("ul", { class: "crops" }, ...tiles.map(([cell, place]) => {
    const label = `cell ${cell.cell_id}`;
    const shown = uri ? el("img", { src: uri, alt: `${label}, ${kind}` }) : el("div", { class: "no-picture" }, whyNot);
    if (uri) { shown.style.width = `${100 * all.length}%`; shown.style.marginLeft = `${-100 * place}%`; }
    return el("li", {}, el("div", { class: "crop" }, shown), el("strong", {}, label), el("span", {}, cell.why),
      el("span", { class: "quiet" }, `x ${Math.round(cell.x)}, y ${Math.round(cell.y)}; ${cell.window_px} px wide`));
  }));
};
const channelRow = (channel) => [channel.name + (channel.segmented ? " (segmented)" : ""), share(channel.saturated_share), share(channel.saturated_in_cells), share(channel.zero_share),
  brief(channel.sharpness), brief(channel.median_in_cells), brief(channel.median_outside),
  channel.shift_px ? `${channel.shift_px.map((part) => ((Math.round(10 * part) || 0) / 10).toFixed(1)).join(", ")} px` : UNKNOWN, known((value) => value.toFixed(2))(channel.shift_confidence)];
const tilesInWords = (tiles) => tiles && tiles.n ? el("p", { class: "quiet" },
  tiles.empty ? `Of ${tiles.n} squares of ${tiles.side_px} px, ${tiles.empty} hold no cell; ${tiles.suspicious} of those have signal, and neighbours with cells.`
    : `Each of ${tiles.n} squares of ${tiles.side_px} px holds a cell.`) : null;
const histograms = (details) => {
  const drawn = Object.entries(index.histograms).map(([name, title]) =>
    details.histograms[name] ? histogram(title, index.pooled[name].edges, details.histograms[name], index.pooled[name].counts) : null);
  const shown = drawn.filter((figure) => figure !== null);
  return shown.length ? el("div", { class: "small-charts" }, ...shown) : null;
};
const sections = (row, details) => [
  failure(details.failure),
  row.warnings.length ? el("ul", { class: "reasons" }, ...row.warnings.map((text) => el("li", { class: "problem" }, text))) : null,
  row.status === "ok" ? el("figure", { class: "preview" }, picture(details.preview, `${row.sample} with its cells outlined`)) : null,
  block("Good cells", crops(details, "good")),
  block("Most doubtful cells", crops(details, "doubtful")),
  block("Cells of this image (bars) and of the cohort (line)", histograms(details)),
  block("Channels", details.channels.length ? table(["Channel", "At the top of the range", "the same in cells", "At zero", "Sharpness", "Median in cells", "Outside", "Shift down, right", "Confidence"],
    details.channels.map(channelRow), ["", ...Array(8).fill("number")]) : null, tilesInWords(details.tiles)),
  block("Settings that differ from most images'", details.settings.length ? table(["Setting", "Here", "Mostly"], details.settings) : null),
  block("Time and memory of the segmentation", details.stages.length ? table(["Stage", "Time", "Peak memory"],
    details.stages.map(([name, seconds, bytes]) => [name, duration(seconds), gigabytes(bytes)]), ["", "number", "number"]) : null),
  block("Made from and with", details.provenance.length ? table(["What", "Value"], details.provenance) : null),
  block("Files", details.files.length ? el("ul", {}, ...details.files.map(([name, address, what]) => el("li", {}, el("a", { href: address }, name), ` ${what}`))) : null),
].filter((part) => part !== null);
const dialog = document.getElementById("details");
let order = index.rows.map((_, place) => place);
const button = (text, action, attributes = {}) => {
  const made = el("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", action);
  return made;
};
const openDetails = (place) => {
  const row = index.rows[place], at = order.indexOf(place);
  const beside = (step, text, label) => {
    const other = order[at + step];
    return button(text, () => openDetails(other), { "aria-label": label, id: `to${step}`, ...(at < 0 || other === undefined ? { disabled: "" } : {}) });
  };
  const had = document.activeElement && document.activeElement.id;
  dialog.replaceChildren(
    el("div", { class: "bar" }, el("h2", { id: "details-title", tabindex: "-1" }, row.sample),
      beside(-1, "←", "Previous image"), beside(1, "→", "Next image"), button("Close", () => dialog.close(), { id: "close" })),
    facts(row), ...sections(row, detailsOf(place)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  const again = had && dialog.querySelector(`[id="${had}"]:not([disabled])`);
  (again || dialog.querySelector("#close")).focus();
  history.replaceState(null, "", `#image=${encodeURIComponent(row.sample)}`);
};
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
// A click beside the dialog, on what is behind it, closes it too.
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const target = step && !event.target.closest(".scroll") && dialog.querySelector(`[id="to${step}"]:not([disabled])`);
  if (target) target.click();
});
