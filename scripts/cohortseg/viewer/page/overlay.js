// What is drawn over the image: the hovered and the chosen cell, marks of flags, the crosshair and the scale bar.

import { byId, svgElement } from "./dom.js";

const MARK_PX = 25; // from the point of a pin, which is at the cell's centre, to its end
const PIN = "M0,0L-3.5,-7.5A9,9 0 1 1 3.5,-7.5Z";
const MOST_MARKS = 1500;
const LETTERS = { wrong: "W", merged: "M", split: "S", outline: "O", good: "G" };
const BAR_PX = 110;

/** Return rings of [x, y] in image pixels as the path of an SVG. */
export function pathOf(rings) {
  return (rings ?? []).map((ring) => `M${ring.map(([x, y]) => `${x},${y}`).join("L")}Z`).join("");
}

/** Return the longest of 1, 2, 5, 10, 20, … that is at most `most`. */
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  const digit = [5, 2, 1].find((each) => each * power <= most * (1 + 1e-9));
  return Number((digit * power).toPrecision(1));
}

export class Overlay {
  constructor(svg, stage) {
    this.svg = svg;
    this.stage = stage;
    this.flags = [];
    const path = (name) => svgElement("path", { class: name, "vector-effect": "non-scaling-stroke", "fill-rule": "evenodd" });
    // A dark line under each light one: outlines show on dark and on bright ground.
    this.hovered = path("hovered");
    this.hoveredUnder = path("under");
    this.chosen = path("chosen");
    this.chosenUnder = path("under");
    this.cells = svgElement("g", {}, this.chosenUnder, this.chosen, this.hoveredUnder, this.hovered);
    this.marks = svgElement("g", { class: "marks" });
    this.cross = svgElement("path", { class: "cross", d: "M-14,0H-4M4,0H14M0,-14V-4M0,4V14" });
    svg.append(this.cells, this.marks, this.cross);
    stage.addEventListener("view", () => this.draw());
  }

  /** Outline a cell of the server's, or none (null), as "hovered" or "chosen". */
  outline(kind, cell) {
    const path = pathOf(cell?.outline);
    this[kind].setAttribute("d", path);
    this[`${kind}Under`].setAttribute("d", path);
    this[kind].dataset.cell = cell?.cell_id ?? "";
  }

  /** Say whether a point of the image lies in the cell that is outlined as hovered. */
  isInHovered(x, y) {
    if (!this.hovered.getAttribute("d")) return false;
    const point = this.svg.createSVGPoint();
    point.x = x;
    point.y = y;
    return this.hovered.isPointInFill(point);
  }

  mark(flags) {
    this.flags = flags;
    this.draw();
  }

  draw() {
    const { sample } = this.stage;
    this.svg.classList.toggle("empty", !sample);
    if (!sample) {
      this.marks.replaceChildren();
      byId("scale").hidden = true;
      return;
    }
    const at = this.stage.transform();
    this.stage.sharpen(at.scale);
    this.cells.setAttribute("transform", `matrix(${at.scale} 0 0 ${at.scale} ${at.x} ${at.y})`);
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    this.cross.setAttribute("transform", `translate(${width / 2} ${height / 2})`);
    this.drawMarks(at, width, height);
    this.drawScale(at.scale, sample.pixel_size_um);
  }

  drawMarks(at, width, height) {
    const marks = [];
    for (const { cell_id: id, flag, x, y } of this.flags) {
      const left = x * at.scale + at.x;
      const top = y * at.scale + at.y;
      if (left < -MARK_PX || top < 0 || left > width + MARK_PX || top > height + MARK_PX) continue;
      marks.push(
        svgElement(
          "g",
          { class: `mark ${flag}`, transform: `translate(${left} ${top})`, "data-cell": id },
          svgElement("path", { d: PIN }),
          svgElement("text", { y: -12 }, LETTERS[flag] ?? "?"),
        ),
      );
      if (marks.length === MOST_MARKS) break;
    }
    this.marks.replaceChildren(...marks);
  }

  drawScale(scale, pixelSize) {
    const unit = pixelSize || 1;
    const length = roundLength((BAR_PX / scale) * unit);
    const large = pixelSize && length >= 1000;
    byId("scale").hidden = false;
    byId("scale-text").textContent = pixelSize ? `${large ? length / 1000 : length} ${large ? "mm" : "µm"}` : `${length} px`;
    byId("scale-bar").style.width = `${(length / unit) * scale}px`;
  }
}
