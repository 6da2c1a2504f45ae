// Channels: which are shown, in which colour and contrast; and the look of the outlines.

import { asText, debounce, element } from "./dom.js";

export const MOST_SHOWN = 6;
const SEARCHED_FROM = 9;
const STEPS = 1000;
const SLOW_END = 3;

/** Return the channels of a sample, with `on` and the automatic contrast, as they are shown first. */
export function defaultChannels(sample) {
  const known = sample.channels.some((channel) => channel.segmented);
  return sample.channels.map((channel, place) => ({
    ...channel,
    auto: { lower: channel.lower, upper: channel.upper },
    on: known && !sample.is_rgb ? Boolean(channel.segmented) : place < 3,
  }));
}

/** Return `fresh` channels with the choices made for `earlier` ones of the same name; `contrast` takes that over too. */
export function carryOver(fresh, earlier, contrast) {
  const byName = new Map(earlier.map((channel) => [channel.name, channel]));
  if (!fresh.some(({ name }) => byName.get(name)?.on)) return fresh;
  return fresh.map((channel) => {
    const before = byName.get(channel.name);
    if (!before) return { ...channel, on: false };
    const { on, color, lower, upper } = before;
    return contrast ? { ...channel, on, color, lower, upper } : { ...channel, on, color };
  });
}

export class ChannelsPanel {
  constructor(root, { onChannels, onOutlines }) {
    this.channels = [];
    this.tell = () => onChannels(this.channels);
    this.tellLater = debounce(this.tell, 150);
    this.outlines = { on: true, color: "#ffd400", opacity: 0.9 };
    this.onOutlines = onOutlines;
    this.search = element("input", {
      type: "search", placeholder: "name of a channel", autocomplete: "off", spellcheck: "false", oninput: () => this.filter(),
    });
    this.searchField = element("div", { class: "fields" }, element("label", {}, "Find ", this.search));
    this.note = element("p", { class: "quiet", role: "status" });
    this.list = element("ul", { class: "rows" });
    this.file = element("p", { class: "quiet name", id: "image-file" });
    const head = element("div", { class: "sticky" }, element("h2", {}, "Channels"), this.searchField, this.note);
    root.append(...this.outlineFields(), head, this.list, this.file);
  }

  outlineFields() {
    const change = (part) => {
      Object.assign(this.outlines, part);
      this.onOutlines(this.outlines);
    };
    const later = debounce(change, 100);
    this.outlinesOn = element("input", { type: "checkbox", onchange: (event) => change({ on: event.target.checked }) });
    this.outlinesOn.checked = this.outlines.on;
    const color = element("input", { type: "color", "aria-label": "Colour of the outlines", oninput: (event) => later({ color: event.target.value }) });
    color.value = this.outlines.color;
    const opacity = element("input", { type: "range", min: 0.1, max: 1, step: 0.05, "aria-label": "Opacity of the outlines",
      oninput: (event) => change({ opacity: Number(event.target.value) }) });
    opacity.value = this.outlines.opacity;
    return [
      element("h2", {}, "Outlines"),
      element("div", { class: "outline-fields" }, element("label", { class: "check" }, this.outlinesOn, "Shown"), color, element("label", { class: "grow" }, "Opacity ", opacity)),
    ];
  }

  toggleOutlines() {
    this.outlines.on = !this.outlines.on;
    this.outlinesOn.checked = this.outlines.on;
    this.onOutlines(this.outlines);
  }

  /** Show the controls of a sample's channels, and which file they are of. */
  open(channels, isRgb, file) {
    this.tellLater.cancel();
    this.channels = channels;
    this.isRgb = isRgb;
    this.search.value = "";
    this.searchField.hidden = channels.length < SEARCHED_FROM;
    this.items = channels.map((channel) => this.item(channel));
    this.list.replaceChildren(...this.items.map(({ root }) => root));
    this.file.textContent = file ? `Image: ${file}` : "";
    this.say();
  }

  close() {
    this.open([], false, null);
  }

  say(problem = "") {
    const on = this.channels.filter((channel) => channel.on).length;
    const all = this.channels.length;
    this.note.textContent = problem || (all ? `${on} of ${all} shown` : "No image is open.");
    this.note.classList.toggle("worth", Boolean(problem));
  }

  filter() {
    const wanted = this.search.value.toLowerCase().trim();
    for (const { channel, root } of this.items) root.hidden = !channel.name.toLowerCase().includes(wanted);
  }

  item(channel) {
    const on = element("input", { type: "checkbox" });
    on.checked = channel.on;
    const color = element("input", { type: "color", "aria-label": `Colour of ${channel.name}` });
    color.value = channel.color;
    color.addEventListener("input", () => {
      channel.color = color.value;
      this.tellLater();
    });
    color.hidden = Boolean(this.isRgb);
    const [contrast, auto] = this.contrast(channel);
    const showContrast = () => {
      contrast.hidden = !channel.on;
      auto.hidden = !channel.on;
    };
    showContrast();
    on.addEventListener("change", () => {
      if (on.checked && this.channels.filter((each) => each.on).length >= MOST_SHOWN) {
        on.checked = false;
        this.say(`At most ${MOST_SHOWN} channels can be shown at once: switch one off first.`);
        return;
      }
      channel.on = on.checked;
      showContrast();
      this.say();
      this.tell();
    });
    const head = element("div", { class: "channel-head" },
      element("label", { class: "check grow" }, on, element("span", { class: "name" }, channel.name)), auto, color);
    return { channel, root: element("li", { class: "channel", "data-channel": channel.index }, head, contrast) };
  }

  /** Return the controls of a channel's contrast, and the button that sets it anew. */
  contrast(channel) {
    const ends = ["lower", "upper"].map((end) => this.end(channel, end));
    const auto = element("button", { type: "button", onclick: () => {
      Object.assign(channel, channel.auto);
      for (const { draw } of ends) draw();
      this.tell();
    } }, "Auto");
    auto.setAttribute("aria-label", `Automatic contrast of ${channel.name}`);
    return [element("div", { class: "contrast" }, ...ends.map(({ root }) => root)), auto];
  }

  /** Return the slider and the number of one end of a channel's contrast, and what draws them anew. */
  end(channel, end) {
    const range = Math.max(channel.max - channel.min, Number.EPSILON);
    // Where the signal fills a small part of the range, the slider is finer at its dark end.
    const power = (channel.auto.upper - channel.min) / range < 1 / 8 ? SLOW_END : 1;
    const whole = Number.isInteger(channel.min) && Number.isInteger(channel.max) && range >= 100;
    const label = `${end === "lower" ? "Darkest" : "Brightest"} value of ${channel.name}`;
    const slider = element("input", { type: "range", min: 0, max: STEPS, step: 1, "aria-label": label });
    const number = element("input", { type: "number", step: "any", "aria-label": `${label}, as a number` });
    const draw = () => {
      slider.value = STEPS * Math.max(0, (channel[end] - channel.min) / range) ** (1 / power);
      slider.setAttribute("aria-valuetext", asText(channel[end]));
      number.value = Number(channel[end].toPrecision(6));
    };
    const set = (value) => {
      if (!Number.isFinite(value)) return;
      const least = whole ? 1 : range / STEPS;
      channel[end] = end === "lower" ? Math.min(value, channel.upper - least) : Math.max(value, channel.lower + least);
      this.tellLater();
    };
    slider.addEventListener("input", () => {
      const value = channel.min + range * (Number(slider.value) / STEPS) ** power;
      set(whole ? Math.round(value) : Number(value.toPrecision(6)));
      draw();
    });
    number.addEventListener("change", () => {
      set(number.value === "" ? NaN : Number(number.value));
      draw();
    });
    draw();
    return { root: element("div", { class: "end" }, element("span", { class: "quiet" }, end === "lower" ? "dark" : "bright"), slider, number), draw };
  }
}
