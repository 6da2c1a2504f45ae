// The tabs beside the image, or below it on a narrow screen, where they fold.

import { byId } from "./dom.js";

const NAMES = ["samples", "channels", "cell", "flags"];

export class Panels {
  /** `onChange` is called when a panel shows, folds or unfolds. */
  constructor(onChange) {
    this.onChange = onChange;
    for (const name of NAMES) byId(`tab-${name}`).addEventListener("click", () => this.show(name));
    byId("fold").addEventListener("click", () => this.fold(!this.isFolded()));
    document.querySelector("[role=tablist]").addEventListener("keydown", (event) => this.onKey(event));
    this.fold(matchMedia("(max-width: 47.99rem)").matches);
    this.select("samples");
  }

  isFolded() {
    return byId("panel").classList.contains("folded");
  }

  fold(folded) {
    byId("panel").classList.toggle("folded", folded);
    const button = byId("fold");
    button.setAttribute("aria-expanded", String(!folded));
    button.setAttribute("aria-label", folded ? "Unfold the panels" : "Fold the panels");
    this.onChange();
  }

  select(name) {
    for (const each of NAMES) {
      const on = each === name;
      byId(`tab-${each}`).setAttribute("aria-selected", String(on));
      byId(`tab-${each}`).tabIndex = on ? 0 : -1;
      byId(`panel-${each}`).hidden = !on;
    }
  }

  /** Show a panel, unfolded; give the focus to one of its elements if its id is given. */
  show(name, focus = null) {
    this.select(name);
    this.fold(false);
    if (focus) byId(focus).focus();
  }

  onKey(event) {
    const at = NAMES.findIndex((name) => event.target.id === `tab-${name}`);
    const last = NAMES.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.show(NAMES[to], `tab-${NAMES[to]}`);
  }
}
