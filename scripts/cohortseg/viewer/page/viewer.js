// The page: opens samples, and passes between the image, the panels and the server what each has to know.

import { ApiError, getCohort, getProgress, getSample } from "./api.js";
import { CellPanel } from "./cell.js";
import { Cells } from "./cells.js";
import { carryOver, ChannelsPanel, defaultChannels } from "./channels.js";
import { byId, debounce } from "./dom.js";
import { FLAGS, FlagsPanel, FlagStore, UnsavedBanner } from "./flags.js";
import { helpDialog, listenToKeys } from "./keys.js";
import { Minimap } from "./minimap.js";
import { Overlay } from "./overlay.js";
import { Panels } from "./panels.js";
import { dropToken, readPlace, writePlace } from "./place.js";
import { SamplesPanel } from "./samples.js";
import { Stage } from "./stage.js";

const PROGRESS_MS = 1000;

class App {
  constructor() {
    this.cohort = { title: "", samples: [], stacks: [] };
    this.name = null;
    this.sample = null;
    this.opening = new AbortController();
    this.making = 0;
    this.unmade = false;
    this.earlier = new Map();
    this.stage = new Stage(byId("canvas"));
    this.overlay = new Overlay(byId("overlay"), this.stage);
    this.minimap = new Minimap(byId("minimap"), this.stage);
    this.store = new FlagStore();
    this.banner = new UnsavedBanner(byId("unsaved"), this.store);
    // The stage has another size once the page is laid out anew.
    this.panels = new Panels(() => requestAnimationFrame(() => this.cells?.keepInSight()));
    const { stage, overlay, store, panels } = this;
    this.cells = new Cells({ stage, overlay, store, panels, say, message });
    this.samples = new SamplesPanel(byId("panel-samples"), (name) => this.open(name));
    this.channels = new ChannelsPanel(byId("panel-channels"), {
      onChannels: () => this.onChannels(),
      onOutlines: () => this.onOutlines(),
    });
    const { cells } = this;
    this.cell = new CellPanel(byId("panel-cell"), {
      onFlag: (flag) => cells.flag(flag),
      onRemove: () => cells.removeFlag(),
      onUndo: () => cells.undo(),
      onFind: (id) => cells.jumpTo(id),
      onRelease: () => cells.choose(null),
    });
    cells.panel = this.cell;
    this.flagList = new FlagsPanel(byId("panel-flags"), store, {
      onJump: (row) => cells.jumpTo(row.cell_id, row),
      onRemove: (id) => cells.removeFlag(id),
    });
    this.writePlace = debounce(() => this.stage.isThere() && writePlace({ sample: this.name, ...this.stage.view() }), 300);
    this.toPlane = debounce((name) => this.open(name, { place: "stay", step: false }), 60);
    this.listen();
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("view", () => this.writePlace());
    stage.addEventListener("loading", ({ detail }) => this.onLoading(detail));
    stage.addEventListener("broken", ({ detail }) => message(detail));
    this.store.addEventListener("queue", () => {
      if (this.store.saved) say(`${this.store.saved}. Saved.`);
    });
    const click = (id, action) => byId(id).addEventListener("click", action);
    click("zoom-in", () => stage.zoomBy(1.5));
    click("zoom-out", () => stage.zoomBy(1 / 1.5));
    click("fit", () => stage.fit());
    click("outlines-button", () => this.channels.toggleOutlines());
    click("message-close", () => message(""));
    click("previous", () => this.step(-1));
    click("next", () => this.step(1));
    click("sample-name", () => this.findSample());
    byId("plane").addEventListener("input", (event) => this.goToPlane(Number(event.target.value)));
    addEventListener("popstate", () => this.onAddress());
    const bindings = this.bindings();
    listenToKeys(bindings);
    click("help-button", helpDialog(byId("help"), bindings));
  }

  bindings() {
    const { stage, cells } = this;
    const arrows = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
    const pan = (key, event) => {
      const [right, down] = arrows[key.toLowerCase()].map((way) => way * (event.shiftKey ? 0.5 : 0.1));
      cells.move(() => stage.panBy(right, down));
    };
    return [
      { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], shown: ["←", "→", "↑", "↓"], does: "move; with Shift further", act: pan },
      { keys: ["+", "="], shown: ["+"], does: "zoom in", act: () => cells.move(() => stage.zoomBy(1.3)) },
      { keys: ["-", "_"], shown: ["-"], does: "zoom out", act: () => cells.move(() => stage.zoomBy(1 / 1.3)) },
      { keys: ["0"], shown: ["0"], does: "fit the whole image", act: () => cells.move(() => stage.fit()) },
      { keys: ["Enter"], shown: ["Enter"], does: "choose the cell at the crosshair, the centre", act: () => cells.pickCentre() },
      ...FLAGS.map(({ flag, key, meaning }) => (
        { keys: [key], shown: [key], does: `flag the chosen cell: ${flag} (${meaning})`, act: () => cells.flag(flag) })),
      { keys: ["Delete", "Backspace"], shown: ["Delete"], does: "remove the chosen cell's flag", act: () => cells.removeFlag() },
      { keys: ["u", "Undo"], shown: ["U", "Ctrl+Z"], does: "undo the last change of a flag", act: () => cells.undo() },
      { keys: ["e"], shown: ["E"], does: "write a note on the chosen cell", act: () => cells.writeNote() },
      { keys: ["Escape"], shown: ["Esc"], does: "let go of the chosen cell", act: () => cells.choose(null) },
      { keys: ["[", "PageUp"], shown: ["[", "Page up"], does: "one plane down in z", act: () => this.stepPlane(-1) },
      { keys: ["]", "PageDown"], shown: ["]", "Page down"], does: "one plane up in z", act: () => this.stepPlane(1) },
      { keys: ["o"], shown: ["O"], does: "outlines on or off", act: () => this.channels.toggleOutlines() },
      { keys: ["n"], shown: ["N"], does: "next sample of the list", act: () => this.step(1) },
      { keys: ["p"], shown: ["P"], does: "previous sample of the list", act: () => this.step(-1) },
      { keys: ["/"], shown: ["/"], does: "find a sample", act: () => this.findSample() },
      { keys: ["g"], shown: ["G"], does: "go to a cell by its id", act: () => this.panels.show("cell", "cell-id") },
      { keys: ["?"], shown: ["?"], does: "this list", act: () => byId("help-button").click() },
    ];
  }

  async start() {
    dropToken();
    try {
      this.cohort = await getCohort();
    } catch (error) {
      showName("–");
      message(error.message);
      return;
    }
    const { title, samples } = this.cohort;
    byId("title").textContent = title || "cohortseg";
    this.samples.fill(samples);
    if (samples.length === 1) this.panels.select("cell");
    const place = readPlace();
    const first = place.sample ?? (samples.find(({ status }) => status === "ok") ?? samples[0])?.sample;
    if (first !== undefined) {
      await this.open(first, { place: place.zoom ? place : null, step: false });
    } else {
      showName("no samples");
      message("There are no samples in these results yet. Run the workflow, then reload this page.");
    }
  }

  // Samples and planes

  /** Open a sample at a place ({x, y, zoom}, "stay", or null: the whole image); `step`: a step of the history. */
  async open(name, { place = null, step = true } = {}) {
    this.opening.abort();
    this.opening = new AbortController();
    const { signal } = this.opening;
    this.leave(name);
    if (!this.cohort.samples.some(({ sample }) => sample === name)) {
      this.fail(`No sample is called ${name} in these results. Choose one from the list.`);
      return;
    }
    if (step) writePlace({ sample: name }, { step: true });
    busy(true);
    try {
      const sample = await getSample(name, signal);
      this.arrive(sample, place);
      this.writePlace();
      await this.store.open(name, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      if (this.sample?.sample === name) message(error.message);
      else this.fail(error.message);
    }
  }

  /** Forget what belongs to the sample before. */
  leave(name) {
    this.name = name;
    this.writePlace.cancel();
    clearTimeout(this.making);
    this.unmade = false;
    message("");
    this.cells.leave();
    this.store.close();
    showName(name);
    this.samples.mark(name);
    this.showPlanes(name);
    document.title = `${name} – cohortseg`;
  }

  arrive(sample, place) {
    this.remember();
    this.sample = sample;
    this.cell.open(sample.columns);
    const stack = this.stackOf(sample.sample)?.stack;
    const same = stack === undefined ? `sample ${sample.sample}` : `stack ${stack}`;
    const known = this.earlier.get(same);
    const fresh = defaultChannels(sample);
    this.channels.open(carryOver(fresh, known ?? this.earlier.get("last") ?? [], Boolean(known)), sample.is_rgb, sample.image);
    this.stage.show(sample, this.channels.channels, this.channels.outlines, place);
    this.minimap.show(sample, this.channels.channels);
    message(this.remarkOn(sample));
  }

  /** Return in words what a user must know of a sample before looking at it; empty where there is nothing. */
  remarkOn(sample) {
    const remarks = [sample.problem ?? ""];
    if (!sample.has_mask) remarks.push("This sample has no mask: outlines are drawn from its polygons where there are any, and only close up.");
    else if (sample.n_cells === 0) remarks.push("No cell was found in this image.");
    return remarks.filter(Boolean).join(" ");
  }

  /** Keep the channels of the sample that is left, for its stack and for the next sample. */
  remember() {
    if (!this.sample || !this.channels.channels.length) return;
    const stack = this.stackOf(this.sample.sample)?.stack;
    this.earlier.set(stack === undefined ? `sample ${this.sample.sample}` : `stack ${stack}`, this.channels.channels);
    this.earlier.set("last", this.channels.channels);
  }

  fail(words) {
    this.remember();
    this.sample = null;
    this.stage.clear();
    this.minimap.hide();
    this.channels.close();
    this.overlay.draw();
    busy(false);
    message(words);
  }

  onAddress() {
    const place = readPlace();
    if (place.sample === null) return;
    if (place.sample !== this.name) this.open(place.sample, { place: place.zoom ? place : null, step: false });
    else if (place.zoom && this.stage.sample) this.stage.goTo(place);
  }

  step(way) {
    const name = this.samples.neighbour(way);
    if (name === null) say(way > 0 ? "This is the last sample of the list." : "This is the first sample of the list.");
    else this.open(name);
  }

  stackOf(name) {
    return this.cohort.stacks.find(({ planes }) => planes.some(({ sample }) => sample === name));
  }

  showPlanes(name) {
    const planes = this.stackOf(name)?.planes ?? [];
    byId("planes").hidden = planes.length < 2;
    if (planes.length < 2) return;
    const at = planes.findIndex(({ sample }) => sample === name);
    const slider = byId("plane");
    slider.max = planes.length - 1;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `z index ${planes[at].z_index}, plane ${at + 1} of ${planes.length}`);
    byId("plane-name").textContent = `${planes[at].z_index} (${at + 1}/${planes.length})`;
  }

  goToPlane(at) {
    const plane = this.stackOf(this.name)?.planes[at];
    if (plane) this.toPlane(plane.sample);
  }

  stepPlane(way) {
    const planes = this.stackOf(this.name)?.planes ?? [];
    const plane = planes[planes.findIndex(({ sample }) => sample === this.name) + way];
    if (plane) this.open(plane.sample, { place: "stay", step: false });
    else say(planes.length ? "This is the last plane." : "This sample is no plane of a stack.");
  }

  findSample() {
    this.panels.show("samples", "sample-search");
    this.samples.reveal();
  }

  onLoading(on) {
    if (this.unmade) return;
    busy(on);
    if (!on) this.awaitLevels();
  }

  // Channels and outlines

  onChannels() {
    if (!this.stage.sample) return;
    this.stage.setChannels(this.channels.channels);
    this.minimap.show(this.sample, this.channels.channels);
  }

  onOutlines() {
    byId("outlines-button").setAttribute("aria-pressed", String(this.channels.outlines.on));
    if (this.stage.sample) this.stage.setOutlines(this.channels.outlines);
  }

  /** Where the server still makes the smaller levels of an image, say so, and show them once they are there. */
  async awaitLevels() {
    clearTimeout(this.making);
    const { sample } = this;
    if (!sample?.has_image) return;
    let done = 1;
    try {
      ({ done } = await getProgress(sample.sample));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      message(error.message);
    }
    if (this.sample !== sample) return;
    if (done < 1) {
      this.unmade = true;
      busy(true, `Making smaller levels of this image: ${Math.floor(100 * done)} %`);
      this.making = setTimeout(() => this.awaitLevels(), PROGRESS_MS);
    } else if (this.unmade) {
      this.unmade = false;
      busy(false);
      this.stage.renew();
      this.onChannels();
    }
  }
}

// What is said

function showName(name) {
  byId("sample-name").textContent = name;
}

/** Show words on the image until others, or none, replace them. */
function message(words) {
  byId("message").hidden = !words;
  byId("message-text").textContent = words;
}

/** Say something in passing. */
function say(words) {
  byId("said").textContent = words;
}

function busy(on, words = "Loading…") {
  byId("loading").hidden = !on;
  byId("loading").textContent = words;
  byId("stage").setAttribute("aria-busy", String(on));
}

new App().start();
