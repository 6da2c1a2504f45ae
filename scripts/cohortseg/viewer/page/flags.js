// Flags of cells: shown at once, saved in order, never dropped in silence; and the list of them.

import { getFlags, putFlag, removeFlag } from "./api.js";
import { asText, element } from "./dom.js";

export const FLAGS = [
  { flag: "wrong", key: "1", meaning: "not a cell" },
  { flag: "merged", key: "2", meaning: "several cells in one" },
  { flag: "split", key: "3", meaning: "part of a cell" },
  { flag: "outline", key: "4", meaning: "a cell, badly outlined" },
  { flag: "good", key: "5", meaning: "a cell as it should be" },
];

const AGAIN_MS = 5000;

/**
 * The flags of one sample at a time, and what is still to be saved, of any. Events: "change" when flags changed,
 * "queue" when something was saved or could not be (`waiting`; `problem` and `saved` in words).
 */
export class FlagStore extends EventTarget {
  constructor() {
    super();
    this.sample = null;
    this.rows = new Map();
    this.waiting = [];
    this.done = [];
    this.problem = "";
    this.saved = "";
    this.sending = false;
    this.timer = 0;
  }

  /** Read the flags of a sample; what waits to be saved counts as saved. */
  async open(sample, signal) {
    this.sample = sample;
    this.rows = new Map();
    const rows = await getFlags(sample, signal);
    if (this.sample !== sample) return;
    this.rows = new Map(rows.map((row) => [row.cell_id, row]));
    for (const change of this.waiting) this.show(change);
    this.dispatchEvent(new Event("change"));
  }

  close() {
    this.sample = null;
    this.rows = new Map();
    this.dispatchEvent(new Event("change"));
  }

  /** Flag a cell: {cell_id, flag, x, y, note}; `words` say it once it is saved. */
  put(row, words) {
    this.change({ sample: this.sample, cell_id: row.cell_id, row, before: this.rows.get(row.cell_id) ?? null, words });
  }

  remove(cellId, words) {
    this.change({ sample: this.sample, cell_id: cellId, row: null, before: this.rows.get(cellId), words });
  }

  /** Take the last change back; false where there is none. */
  undo() {
    const last = this.done.pop();
    if (!last) return false;
    const words = `Cell ${last.cell_id} of ${last.sample}: ${last.before?.flag ?? "no flag"} again`;
    this.send({ ...last, row: last.before, before: last.row, words });
    return true;
  }

  change(change) {
    this.done.push(change);
    this.send(change);
  }

  send(change) {
    this.waiting.push(change);
    this.show(change);
    this.dispatchEvent(new Event("change"));
    this.save();
  }

  show({ sample, cell_id: id, row }) {
    if (sample !== this.sample) return;
    if (row) this.rows.set(id, row);
    else this.rows.delete(id);
  }

  /** Send what waits, in order; where that fails, keep it and try again. */
  async save() {
    clearTimeout(this.timer);
    if (this.sending) return;
    this.sending = true;
    this.saved = "";
    while (this.waiting.length) {
      const { sample, cell_id: id, row, words } = this.waiting[0];
      try {
        await (row ? putFlag(sample, row) : removeFlag(sample, id));
      } catch (error) {
        this.problem = error.message;
        this.timer = setTimeout(() => this.save(), AGAIN_MS);
        break;
      }
      this.waiting.shift();
      this.problem = "";
      this.saved = words;
    }
    this.sending = false;
    this.dispatchEvent(new Event("queue"));
  }

  /** Give up the first change that could not be saved; while it is being sent once more, it may be saved yet. */
  giveUp() {
    if (this.sending) return;
    const change = this.waiting.shift();
    if (!change) return;
    this.done = this.done.filter((each) => each !== change);
    this.show({ ...change, row: change.before });
    this.problem = "";
    this.dispatchEvent(new Event("change"));
    this.save();
  }

  /** Return what waits as a table of tab-separated values. */
  asTable() {
    const clean = (text) => String(text ?? "").replace(/[\t\r\n]+/g, " ");
    const lines = this.waiting.map(({ sample, cell_id: id, row }) =>
      [sample, id, row?.flag ?? "(removed)", row?.x, row?.y, row?.note].map(clean).join("\t"),
    );
    return ["sample\tcell_id\tflag\tx_px\ty_px\tnote", ...lines].join("\n") + "\n";
  }
}

/** The banner about flags that are not saved. */
export class UnsavedBanner {
  constructor(box, store) {
    this.words = element("span");
    const again = element("button", { type: "button", onclick: () => store.save() }, "Try again");
    const keep = element("button", { type: "button", onclick: () => this.keep() }, "Save to a file");
    const drop = element("button", { type: "button", onclick: () => store.giveUp() }, "Give the first one up");
    box.append(this.words, again, keep, drop);
    this.store = store;
    store.addEventListener("queue", () => {
      box.hidden = !store.problem;
      const number = store.waiting.length;
      const noun = number === 1 ? "One flag is" : `${number} flags are`;
      this.words.textContent = store.problem ? `${noun} not saved: ${store.problem}` : "";
    });
    addEventListener("beforeunload", (event) => {
      if (store.waiting.length) event.preventDefault();
    });
  }

  keep() {
    const url = URL.createObjectURL(new Blob([this.store.asTable()], { type: "text/tab-separated-values" }));
    element("a", { href: url, download: "unsaved_flags.tsv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

/** The list of a sample's flags; `onJump` gets a row, `onRemove` a cell's id. */
export class FlagsPanel {
  constructor(root, store, { onJump, onRemove }) {
    this.store = store;
    this.onJump = onJump;
    this.onRemove = onRemove;
    this.count = element("p", { class: "quiet" });
    this.list = element("ul", { class: "rows" });
    root.append(element("h2", {}, "Flags of this sample"), this.count, this.list);
    store.addEventListener("change", () => this.draw());
    this.draw();
  }

  draw() {
    const rows = [...this.store.rows.values()].sort((a, b) => a.cell_id - b.cell_id);
    const kinds = FLAGS.map(({ flag }) => [flag, rows.filter((row) => row.flag === flag).length]);
    this.count.textContent = rows.length
      ? kinds.filter(([, n]) => n).map(([flag, n]) => `${asText(n)} ${flag}`).join(", ")
      : "None yet. Choose a cell (click, or Enter) and press a key from 1 to 5.";
    this.list.replaceChildren(...rows.map((row) => this.row(row)));
  }

  row(row) {
    const jump = element(
      "button",
      { type: "button", class: "jump", onclick: () => this.onJump(row) },
      element("span", { class: `chip ${row.flag}` }, row.flag),
      element("span", { class: "name" }, `cell ${row.cell_id}`),
      element("span", { class: "quiet note" }, row.note ?? ""),
    );
    const label = `Remove the flag of cell ${row.cell_id}`;
    const remove = element(
      "button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: () => this.onRemove(row.cell_id) }, "×",
    );
    return element("li", { class: "pair", "data-cell": row.cell_id }, jump, remove);
  }
}
