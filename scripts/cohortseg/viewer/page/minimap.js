// The whole image, small, with a frame around what is seen; a click or a drag moves the frame.

import { compositeQuery, imageTile } from "./api.js";
import { element } from "./dom.js";
import { overviewLevel } from "./stage.js";

export class Minimap {
  constructor(box, stage) {
    this.box = box;
    this.stage = stage;
    this.picture = element("img", { alt: "", draggable: "false" });
    this.frame = element("i");
    box.append(this.picture, this.frame);
    stage.addEventListener("view", () => this.draw());
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      this.move(event);
    });
    box.addEventListener("pointermove", (event) => {
      if (box.hasPointerCapture(event.pointerId)) this.move(event);
    });
  }

  /** Show the image with these channels: its lowest level is one tile, which the stage asks for too. */
  show(sample, channels) {
    const query = compositeQuery(channels) && `${compositeQuery(channels)}&edition=${this.stage.edition}`;
    const url = imageTile(sample.sample, query, overviewLevel(sample), 0, 0);
    this.box.hidden = !query || !sample.has_image;
    this.box.style.aspectRatio = `${sample.width} / ${sample.height}`;
    if (!this.box.hidden && this.picture.getAttribute("src") !== url) this.picture.src = url;
    this.draw();
  }

  hide() {
    this.box.hidden = true;
  }

  draw() {
    const { sample } = this.stage;
    if (!sample || this.box.hidden) return;
    const { width, height } = sample;
    const canvas = this.stage.canvas;
    const from = this.stage.imagePoint(0, 0);
    const to = this.stage.imagePoint(canvas.clientWidth, canvas.clientHeight);
    const clip = (value) => Math.min(Math.max(value, 0), 1);
    const [left, top, right, bottom] = [from.x / width, from.y / height, to.x / width, to.y / height].map(clip);
    const { style } = this.frame;
    style.left = `${100 * left}%`;
    style.top = `${100 * top}%`;
    style.width = `${100 * (right - left)}%`;
    style.height = `${100 * (bottom - top)}%`;
    this.frame.hidden = left === 0 && top === 0 && right === 1 && bottom === 1;
  }

  move(event) {
    const { sample } = this.stage;
    if (!sample) return;
    const box = this.box.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * sample.width;
    const y = ((event.clientY - box.top) / box.height) * sample.height;
    this.stage.goTo({ x, y });
  }
}
