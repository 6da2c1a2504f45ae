// The list of samples: search, verdict, reasons, number of cells. Rows off the screen are not laid out (CSS).

import { asText, debounce, element } from "./dom.js";

const VERDICTS = { ok: "ok", look: "look", failed: "failed", missing: "missing" };

/** Return warnings, a list or one text, as one text. */
const reasons = ({ warnings }) => (Array.isArray(warnings) ? warnings.join("; ") : (warnings ?? ""));

export class SamplesPanel {
  constructor(root, onOpen) {
    this.onOpen = onOpen;
    this.rows = [];
    this.current = null;
    this.search = element("input", {
      type: "search", id: "sample-search", placeholder: "name or reason", autocomplete: "off", spellcheck: "false",
      oninput: debounce(() => this.filter(), 100),
    });
    this.verdict = element("select", { id: "sample-verdict", onchange: () => this.filter() });
    this.verdict.append(element("option", { value: "" }, "all verdicts"));
    for (const verdict of Object.keys(VERDICTS)) this.verdict.append(element("option", { value: verdict }, verdict));
    this.count = element("p", { class: "quiet", role: "status" });
    this.list = element("ul", { class: "rows" });
    const fields = element("div", { class: "fields" },
      element("label", { class: "whole" }, "Find ", this.search),
      element("label", { class: "whole" }, "Verdict ", this.verdict));
    root.append(element("div", { class: "sticky" }, fields, this.count), this.list);
  }

  fill(samples) {
    this.rows = samples.map((sample) => {
      const why = reasons(sample);
      const verdict = sample.verdict in VERDICTS ? sample.verdict : "";
      const cells = sample.n_cells === null ? "" : `${asText(sample.n_cells)} ${sample.n_cells === 1 ? "cell" : "cells"}`;
      const button = element(
        "button", { type: "button", class: "sample", onclick: () => this.onOpen(sample.sample) },
        element("span", { class: "name" }, sample.sample),
        element("span", { class: "quiet" }, cells),
        element("span", { class: `chip verdict-${verdict}` }, sample.verdict ?? ""),
        element("span", { class: "reasons", title: why }, why),
      );
      const text = `${sample.sample} ${why} ${sample.stack ?? ""}`.toLowerCase();
      return { sample, text, verdict, item: element("li", { class: "row" }, button), button };
    });
    this.list.replaceChildren(...this.rows.map((row) => row.item));
    this.filter();
  }

  filter() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.rows) {
      const wanted = !this.verdict.value || row.verdict === this.verdict.value;
      row.item.hidden = !(wanted && words.every((word) => row.text.includes(word)));
    }
    const shown = this.shown().length;
    const all = this.rows.length;
    this.count.textContent = all === 0 ? "There are no samples in these results."
      : shown === all ? `${asText(all)} ${all === 1 ? "sample" : "samples"}`
        : shown === 0 ? "No sample is like that." : `${asText(shown)} of ${asText(all)} samples`;
  }

  shown() {
    return this.rows.filter((row) => !row.item.hidden);
  }

  /** Mark the sample that is open. */
  mark(name) {
    this.current = name;
    for (const { sample, button } of this.rows) {
      if (sample.sample === name) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  /** Bring the row of the open sample into sight. */
  reveal() {
    this.rows.find(({ sample }) => sample.sample === this.current)?.item.scrollIntoView({ block: "center" });
  }

  /** Return the sample `step` rows on among those shown, or null at an end. */
  neighbour(step) {
    const shown = this.shown();
    const at = shown.findIndex(({ sample }) => sample.sample === this.current);
    const to = at < 0 ? (step > 0 ? 0 : shown.length - 1) : at + step;
    return shown[to]?.sample.sample ?? null;
  }
}
