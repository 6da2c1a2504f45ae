const COLUMNS = [
  ["sample", "Image", (row) => row.sample], ["warnings", "Warnings", (row) => [row.failure, ...row.warnings].filter(Boolean).join("; ")],
  ["modality", "Modality", (row) => row.modality || UNKNOWN], ["n_cells", "Cells", (row) => number(0)(row.n_cells)],
  ["cells_per_mpx", "Cells / Mpx", (row) => number(0)(row.cells_per_mpx)], ["median_diameter_px", "Ø px", (row) => number(1)(row.median_diameter_px)],
  ["median_diameter_um", "Ø µm", (row) => number(1)(row.median_diameter_um)], ["mean_score", "Score", (row) => number(2)(row.mean_score)],
  ["edge_share", "Edge", (row) => share(row.edge_share)], ["ap50", "AP@0.5", (row) => number(2)(row.ap50)],
  ["seconds", "Time", (row) => duration(row.seconds)], ["peak_memory_bytes", "Memory", (row) => gigabytes(row.peak_memory_bytes)],
];
const TEXT = new Set(["sample", "warnings", "modality"]);
const PAGE = { cards: 24, table: 50 };
const VERDICTS = [["", "any"], ["ok", "ok"], ["look", "worth a look"], ["failed", "failed"], ["missing", "without results"]];
const shown = { wanted: "", verdict: "", sort: "worst", rising: true, view: "cards", page: 0 };
const byId = (id) => document.getElementById(id);
// Text as a reader sorts it; a column's numbers with unknown ones last either way; the worst first as the page has them.
const collator = new Intl.Collator(undefined, { numeric: true });
const compare = (a, b) => {
  const sign = shown.rising ? 1 : -1;
  if (shown.sort === "worst") return sign * (a - b);
  const [left, right] = [a, b].map((place) => index.rows[place][shown.sort]);
  if (TEXT.has(shown.sort)) return sign * collator.compare(String(left), String(right)) || a - b;
  if (left === null || right === null) return (left === null) - (right === null) || a - b;
  return sign * (left - right) || a - b;
};
const matches = (row) => (!shown.verdict || row.verdict === shown.verdict) &&
  (!shown.wanted || [row.sample, row.modality, row.failure, ...row.warnings].join("\n").toLowerCase().includes(shown.wanted));
const link = (place) => {
  const row = index.rows[place];
  return button(row.sample, () => openDetails(place), { class: "name", "aria-label": `Details of ${row.sample}` });
};
const card = (place) => {
  const row = index.rows[place];
  const zoom = row.status === "ok" ? button("", () => openDetails(place), { class: "zoom", tabindex: "-1", "aria-hidden": "true" }) : null;
  if (zoom) zoom.append(picture(detailsOf(place).preview, ""));
  return el("li", { class: "card" }, zoom, el("div", {}, link(place), badge(row.verdict)),
    row.n_cells === null ? null : el("p", { class: "quiet" }, `${number(0)(row.n_cells)} cells${row.median_diameter_px === null ? "" : `, Ø ${number(1)(row.median_diameter_px)} px`}`),
    row.failure ? el("p", { class: "bad" }, row.failure) : row.status === "missing" ? el("p", { class: "quiet" }, "no results yet") : null,
    ...row.warnings.map((text) => el("p", { class: "problem" }, text)));
};
const header = ([key, label]) => {
  const sorted = shown.sort === key;
  return el("th", { scope: "col", "aria-sort": sorted ? (shown.rising ? "ascending" : "descending") : null },
    button(label, () => { change({ sort: key, rising: sorted ? !shown.rising : TEXT.has(key) }); byId("list").querySelector("[aria-sort] button").focus(); }));
};
const tableOf = (places) => el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Images" }, el("table", { id: "sample-table" },
  el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Verdict"), ...COLUMNS.map(header))),
  el("tbody", {}, ...places.map((place) => el("tr", {}, el("td", {}, badge(index.rows[place].verdict)), ...COLUMNS.map(([key, , form]) =>
    el("td", { class: key === "warnings" ? "warnings" : TEXT.has(key) ? null : "number" }, key === "sample" ? link(place) : form(index.rows[place]))))))));
const turn = (page, text, label, id) => button(text, () => {
  change({ page });
  // The end of the list has no next page; the button before it takes the focus.
  (document.querySelector(`#${id}:not([disabled])`) || document.querySelector("#pages button:not([disabled])")).focus();
  byId("images").scrollIntoView();
}, { "aria-label": label, id });
const pagesOf = (page, n) => {
  const places = [[0, "«", "First page", "page-first"], [page - 1, "‹", "Previous page", "page-before"], [page + 1, "›", "Next page", "page-after"], [n - 1, "»", "Last page", "page-last"]];
  const made = places.map(([to, text, label, id]) => {
    const there = turn(to, text, label, id);
    if (to === page || to < 0 || to >= n) there.setAttribute("disabled", "");
    return there;
  });
  made.splice(2, 0, el("span", {}, `page ${page + 1} of ${n}`));
  return made;
};
const draw = () => {
  order = index.rows.map((_, place) => place).filter((place) => matches(index.rows[place])).sort(compare);
  const size = PAGE[shown.view], n = Math.max(1, Math.ceil(order.length / size));
  shown.page = Math.min(shown.page, n - 1);
  const places = order.slice(shown.page * size, (shown.page + 1) * size);
  byId("list").replaceChildren(!places.length ? el("p", {}, "No image matches.") : shown.view === "table" ? tableOf(places) : el("ul", { class: "grid" }, ...places.map(card)));
  byId("count").textContent = `${number(0)(order.length)} of ${number(0)(index.rows.length)} images`;
  byId("pages").replaceChildren(...(n > 1 ? pagesOf(shown.page, n) : []));
  for (const name of ["verdict", "sort", "view"]) byId(name).value = shown[name];
};
const change = (what) => { Object.assign(shown, { page: 0 }, what); draw(); };
byId("verdict").append(...VERDICTS.map(([value, text]) => el("option", { value }, text)));
byId("sort").append(...[["worst", "the worst first"], ...COLUMNS].map(([value, text]) => el("option", { value }, text)));
byId("tools").addEventListener("submit", (event) => event.preventDefault());
byId("search").addEventListener("input", (event) => change({ wanted: event.target.value.trim().toLowerCase() }));
byId("verdict").addEventListener("change", (event) => change({ verdict: event.target.value }));
byId("sort").addEventListener("change", (event) => change({ sort: event.target.value, rising: event.target.value === "worst" || TEXT.has(event.target.value) }));
byId("view").addEventListener("change", (event) => change({ view: event.target.value }));
byId("turn").addEventListener("click", () => change({ rising: !shown.rising }));
for (const each of document.querySelectorAll("[data-verdict]")) each.addEventListener("click", () => change({ verdict: each.dataset.verdict }));
for (const each of document.querySelectorAll("[data-image]")) {
  const place = placeOf.get(each.dataset.image);
  each.before(button("", () => openDetails(place), { class: "zoom", tabindex: "-1", "aria-hidden": "true" }));
  each.previousSibling.append(picture(detailsOf(place).preview, ""));
  each.addEventListener("click", (event) => { event.preventDefault(); openDetails(place); });
}
const toHash = () => {
  const name = location.hash.startsWith("#image=") ? decodeURIComponent(location.hash.slice(7)) : null;
  if (placeOf.has(name)) openDetails(placeOf.get(name));
};
addEventListener("hashchange", toHash);
byId("browser").hidden = false;
draw();
toHash();
