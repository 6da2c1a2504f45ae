// Cells of the open sample: pointed at, chosen, gone to, flagged.

import { ApiError, getCell, getCellAt } from "./api.js";
import { byId, debounce } from "./dom.js";

const HOVER_MS = 50;
const SETTLE_MS = 250; // after the last key that moves the image
const CLOSE_UP = 1.5; // screen pixels per image pixel: at least so close when a cell is gone to

/** Return a cell's centre in image pixels: its centroid where it is measured, else the middle of its bounds. */
function middle({ values, bounds }) {
  const { centroid_x: x, centroid_y: y } = values;
  if (typeof x === "number" && typeof y === "number") return { x, y };
  return { x: (bounds[0] + bounds[2]) / 2, y: (bounds[1] + bounds[3]) / 2 };
}

export class Cells {
  /** `panel` is set by who made it; `say` and `message` show words in passing, and until they are replaced. */
  constructor({ stage, overlay, store, panels, say, message }) {
    Object.assign(this, { stage, overlay, store, panels, say, message });
    this.panel = null;
    this.chosen = null;
    this.hovered = null;
    // What is pointed at and what is chosen are asked for apart: neither cuts the other's question short.
    this.questions = { look: new AbortController(), choose: new AbortController() };
    this.lookLater = debounce((at) => this.look(at), HOVER_MS);
    this.lookAtCentre = debounce(() => this.onCentre(), SETTLE_MS);
    stage.addEventListener("hover", ({ detail }) => {
      this.byKeys(false);
      this.onHover(detail);
    });
    stage.addEventListener("view", () => {
      if (stage.pointer && !this.isByKeys()) this.onHover(stage.pointedAt());
    });
    stage.addEventListener("pick", ({ detail }) => this.pick(detail));
    store.addEventListener("change", () => {
      overlay.mark([...store.rows.values()]);
      this.draw();
    });
    this.listenToFocus();
  }

  /** Show the crosshair where the image got the focus by Tab, not by a click. */
  listenToFocus() {
    let tabbing = false;
    document.addEventListener("keydown", (event) => (tabbing = event.key === "Tab"), true);
    document.addEventListener("pointerdown", () => (tabbing = false), true);
    this.stage.canvas.addEventListener("focusin", () => tabbing && this.byKeys(true));
    this.stage.canvas.addEventListener("focusout", () => this.byKeys(false));
  }

  /** The sample that is open: null while its image is still the one before's, whose cells are no longer to be flagged. */
  get sample() {
    const { sample } = this.stage;
    return sample && sample.sample === this.store.sample ? sample : null;
  }

  /** Forget the cells of the sample that is left. */
  leave() {
    this.lookLater.cancel();
    this.lookAtCentre.cancel();
    this.questions.look.abort();
    this.questions.choose.abort();
    this.hover(null);
    this.choose(null);
    byId("where").textContent = "–";
  }

  isInside({ x, y }) {
    return Boolean(this.sample) && x >= 0 && y >= 0 && x < this.sample.width && y < this.sample.height;
  }

  // Pointing at cells

  onHover(at) {
    if (!this.pointAt(at)) return;
    if (this.overlay.isInHovered(at.x, at.y)) this.lookLater.cancel();
    else this.lookLater(at);
  }

  /** Say where a point is; false, and no cell, where it lies outside the image. */
  pointAt(at) {
    const inside = at !== null && this.isInside(at);
    byId("where").textContent = inside ? this.whereIs(at) : "–";
    if (!inside) {
      this.lookLater.cancel();
      this.questions.look.abort();
      this.hover(null);
    }
    return inside;
  }

  whereIs({ x, y }) {
    const size = this.sample.pixel_size_um;
    const text = `x ${Math.floor(x)}, y ${Math.floor(y)} px`;
    return size ? `${text} · ${(x * size).toFixed(1)}, ${(y * size).toFixed(1)} µm` : text;
  }

  /** Return the server's cell, null where there is none, undefined where another was asked for since; `why`: "look" or "choose". */
  async ask(why, get, ...given) {
    this.questions[why].abort();
    this.questions[why] = new AbortController();
    const { signal } = this.questions[why];
    if (!this.sample) return null;
    try {
      const cell = await get(this.sample.sample, ...given, signal);
      if (signal.aborted) return undefined;
      return cell.cell_id === null ? null : cell;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!(error instanceof ApiError)) throw error;
      this.message(error.message);
      return null;
    }
  }

  askAt(why, { x, y }) {
    return this.ask(why, getCellAt, Math.floor(x), Math.floor(y));
  }

  async look(at) {
    const cell = await this.askAt("look", at);
    if (cell !== undefined) this.hover(cell);
  }

  hover(cell) {
    this.hovered = cell;
    this.overlay.outline("hovered", cell);
    byId("pointed").textContent = cell ? `cell ${cell.cell_id}` : "";
    this.draw();
    if (cell && this.isByKeys()) this.say(`Cell ${cell.cell_id} at the centre.`);
  }

  // By keys: the crosshair at the centre takes the place of the pointer.

  /** Change the view by a key: the crosshair shows, and the cell below it is looked up. */
  move(change) {
    if (!this.sample) return;
    change();
    this.byKeys(true);
  }

  isByKeys() {
    return byId("stage").classList.contains("by-keys");
  }

  byKeys(on) {
    byId("stage").classList.toggle("by-keys", on);
    if (on) this.lookAtCentre();
    else this.lookAtCentre.cancel();
  }

  onCentre() {
    if (!this.sample) return;
    const at = this.stage.view();
    if (this.pointAt(at)) this.look(at);
  }

  pickCentre() {
    if (!this.sample) return;
    this.byKeys(true);
    this.pick(this.stage.view());
  }

  // Choosing

  async pick(at) {
    if (!this.isInside(at)) return;
    this.lookLater.cancel();
    this.lookAtCentre.cancel();
    const cell = await this.askAt("choose", at);
    if (cell === undefined) return;
    this.choose(cell);
    if (!cell) this.say("No cell there.");
  }

  /** Choose a cell of the server's, or none. */
  choose(cell) {
    if (!cell && !this.chosen) return;
    this.chosen = cell;
    this.overlay.outline("chosen", cell);
    this.draw();
    if (!cell) return;
    this.panels.show("cell");
    this.say(`Cell ${cell.cell_id} chosen. Keys 1 to 5 flag it.`);
  }

  draw() {
    const cell = this.chosen ?? this.hovered;
    this.panel.show(cell, Boolean(this.chosen), cell ? (this.store.rows.get(cell.cell_id) ?? null) : null);
  }

  /** Go to a cell and choose it; a flag (`row`) whose cell is gone is gone to all the same. */
  async jumpTo(id, row = null) {
    if (!this.sample) return;
    const cell = await this.ask("choose", getCell, id);
    if (cell === undefined) return;
    const centre = cell ? middle(cell) : row;
    if (centre) this.stage.goTo({ x: centre.x, y: centre.y, closest: CLOSE_UP });
    this.choose(cell);
    if (!cell) this.say(`There is no cell ${id} in this sample.`);
  }

  /** Bring the chosen cell back into sight, after the image was given less room. */
  keepInSight() {
    if (!this.chosen || !this.sample) return;
    const { x, y } = middle(this.chosen);
    const at = this.stage.transform(false);
    const [left, top] = [x * at.scale + at.x, y * at.scale + at.y];
    const { clientWidth, clientHeight } = this.stage.canvas;
    if (left < 0 || top < 0 || left > clientWidth || top > clientHeight) this.stage.goTo({ x, y });
  }

  // Flags

  flag(flag) {
    if (!this.chosen) {
      this.say("Choose a cell first: click it, or press Enter on it.");
      return;
    }
    const id = this.chosen.cell_id;
    const words = `Cell ${id}: ${flag}`;
    this.store.put({ cell_id: id, flag, ...middle(this.chosen), note: this.panel.note.value.trim() }, words);
  }

  removeFlag(id = this.chosen?.cell_id) {
    if (this.store.rows.has(id)) this.store.remove(id, `Cell ${id}: flag removed`);
    else this.say(id === undefined ? "Choose a cell first." : "The chosen cell has no flag.");
  }

  undo() {
    if (!this.store.undo()) this.say("There is nothing to undo.");
  }

  writeNote() {
    if (this.chosen) this.panels.show("cell", "note");
    else this.say("Choose a cell first.");
  }
}
