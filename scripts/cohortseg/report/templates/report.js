"use strict";
const table = document.getElementById("sample-table");
const body = table.tBodies[0];
const keyOf = (row, column, numeric) => {
  const cell = row.cells[column];
  if (!numeric) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
};
const sortBy = (header) => {
  const numeric = header.dataset.sort === "number";
  // Numbers start with the largest, text with A; unknown values stay last either way.
  const was = header.getAttribute("aria-sort");
  const rising = was ? was === "descending" : !numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const sign = rising ? 1 : -1;
  const keyed = Array.from(body.rows, (row) => [keyOf(row, header.cellIndex, numeric), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    return sign * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  });
  body.append(...keyed.map(([, row]) => row));
};
for (const header of table.tHead.rows[0].cells) {
  header.tabIndex = 0;
  header.addEventListener("click", () => sortBy(header));
  header.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    sortBy(header);
  });
}
const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown += !row.hidden;
  }
  document.getElementById("filter-count").textContent = wanted ? `${shown} of ${body.rows.length}` : "";
});
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => button.parentElement.classList.toggle("large"));
}
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (!folded || folded.open) return;
  folded.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
