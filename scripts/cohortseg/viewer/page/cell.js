// The panel of one cell: its flag, note and measurements.

import { asText, byId, element } from "./dom.js";
import { FLAGS } from "./flags.js";

// What is looked at first; the rest follows in the table's order.
const FIRST = [/^area_um2$/, /^area_px$/, /^diameter/, /^score$/, /^flow_error$/, /^solidity$/, /^eccentricity$/, /^mean_/, /^median_/];
const SEARCHED_FROM = 10;

const rank = ({ name }) => {
  const place = FIRST.findIndex((pattern) => pattern.test(name));
  return place < 0 ? FIRST.length : place;
};

export class CellPanel {
  constructor(root, { onFlag, onRemove, onUndo, onFind, onRelease }) {
    this.fields = [];
    this.title = element("h2", {}, "Cell");
    this.hint = element("p", { class: "quiet" });
    this.release = element("button", { type: "button", class: "link", onclick: onRelease }, "let go");
    this.buttons = FLAGS.map(({ flag, key, meaning }) => element(
      "button", { type: "button", class: `flag ${flag}`, "data-flag": flag, "aria-pressed": "false", title: meaning, onclick: () => onFlag(flag) },
      element("kbd", {}, key), flag,
    ));
    this.note = element("input", { type: "text", id: "note", maxlength: 500, placeholder: "a note on this cell", autocomplete: "off" });
    this.note.addEventListener("change", () => {
      const pressed = this.buttons.find((button) => button.getAttribute("aria-pressed") === "true");
      if (pressed) onFlag(pressed.dataset.flag);
    });
    this.note.addEventListener("keydown", (event) => {
      if (event.key === "Enter") byId("canvas").focus(); // which saves the note, and gives the keys back
    });
    this.remove = element("button", { type: "button", onclick: onRemove }, "Remove flag");
    this.undo = element("button", { type: "button", onclick: onUndo }, "Undo");
    this.search = element("input", { type: "search", placeholder: "name of a measurement", autocomplete: "off", spellcheck: "false", oninput: () => this.filter() });
    this.searchField = element("div", { class: "fields" }, element("label", {}, "Find ", this.search));
    this.body = element("tbody");
    this.table = element("table", { class: "values" }, element("caption", { class: "hidden" }, "Measurements"), this.body);
    this.id = element("input", { type: "number", id: "cell-id", min: 1, step: 1, required: true });
    this.find = element("form", { class: "fields" }, element("label", {}, "Go to cell ", this.id), element("button", {}, "Go"));
    this.find.addEventListener("submit", (event) => {
      event.preventDefault();
      onFind(Number(this.id.value));
    });
    this.flagging = element("div", { class: "flagging", role: "group", "aria-label": "Flag this cell" },
      element("div", { class: "flag-buttons" }, ...this.buttons),
      element("label", {}, "Note ", this.note),
      element("div", { class: "fields" }, this.remove, this.undo));
    root.append(
      this.find, element("div", { class: "heading" }, this.title, this.release), this.hint, this.flagging,
      this.searchField, this.table,
    );
    this.show(null, false, null);
  }

  /** Take the columns of a sample: [{name, unit}]. */
  open(columns) {
    const shown = columns.filter(({ name }) => name !== "cell_id");
    const order = shown.map((column, place) => ({ ...column, place })).sort((a, b) => rank(a) - rank(b) || a.place - b.place);
    this.fields = order.map(({ name, unit }) => {
      const value = element("td");
      const row = element("tr", { "data-column": name }, element("th", { scope: "row" }, name), value, element("td", { class: "unit" }, unit ?? ""));
      return { name, value, row };
    });
    this.body.replaceChildren(...this.fields.map(({ row }) => row));
    this.search.value = "";
    this.show(null, false, null);
  }

  filter() {
    const wanted = this.search.value.toLowerCase().trim();
    for (const { name, row } of this.fields) row.hidden = !name.toLowerCase().includes(wanted);
  }

  /** Show a cell of the server's, or none; `chosen` cells can be flagged; `row` is its flag. */
  show(cell, chosen, row) {
    this.title.textContent = cell ? `Cell ${cell.cell_id}` : "Cell";
    this.title.dataset.cell = cell?.cell_id ?? "";
    this.hint.hidden = chosen;
    this.hint.textContent = cell ? "Click it, or press Enter, to choose and flag it."
      : "Point at a cell to see its measurements. Click it, or press Enter, to choose it.";
    this.release.hidden = !chosen;
    this.flagging.hidden = !chosen;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(row?.flag === button.dataset.flag));
    this.remove.disabled = !row;
    if (this.noteOf !== cell?.cell_id || row) {
      if (document.activeElement !== this.note) this.note.value = row?.note ?? "";
    }
    this.noteOf = cell?.cell_id;
    this.table.hidden = !cell;
    this.searchField.hidden = !cell || this.fields.length < SEARCHED_FROM;
    for (const { name, value } of this.fields) {
      const number = cell?.values?.[name];
      value.textContent = cell ? asText(number) : "";
      value.title = cell && number !== null && number !== undefined ? String(number) : "";
    }
  }
}
