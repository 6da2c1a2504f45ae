// The image: OpenSeadragon with one layer of pixels and one of outlines, in coordinates of image pixels.

import { compositeQuery, imageTile, outlineTile, reasonOf } from "./api.js";

const SWAP_WAIT_MS = 4000;
const CLOSEST = 16; // screen pixels per image pixel
const DRAWN_LEVELS = 3; // without a mask, the server draws outlines from polygons, at the highest levels only
const LARGE = 1.5; // from here on, pixels are shown as squares

/** Keep OpenSeadragon from adding a style element, which the page's policy forbids: it looks for one of this name. */
function satisfyStyleLookup() {
  const stand = document.createElementNS("urn:cohortseg", "style");
  stand.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(stand);
}

/** Return the level (the highest is full resolution) at which the whole image fits into one tile; none below is asked for. */
export function overviewLevel({ width, height, levels, tile_px: tile }) {
  const halvings = Math.ceil(Math.log2(Math.max(1, Math.max(width, height) / tile)));
  return Math.max(0, levels - 1 - halvings);
}

/**
 * The viewer of one image at a time. Events (of EventTarget): "view" at every change of what is seen, "hover" and
 * "pick" with detail {x, y} in image px (hover: null outside), "loading" with detail true or false, "broken" with words.
 */
export class Stage extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.sample = null;
    this.layers = { image: null, outlines: null };
    this.broken = false;
    this.edition = 0;
    this.pointer = null;
    satisfyStyleLookup();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.viewer = new OpenSeadragon({
      element: canvas,
      drawer: "canvas",
      showNavigationControl: false,
      keyboardNavEnabled: false,
      minZoomImageRatio: 0.5,
      maxZoomPixelRatio: CLOSEST,
      visibilityRatio: 0.2,
      preserveViewport: true,
      animationTime: still ? 0 : 0.3,
      imageLoaderLimit: 8,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true, flickEnabled: !still },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true, flickEnabled: !still },
      gestureSettingsPen: { clickToZoom: false },
    });
    // OpenSeadragon's own element takes the focus after a click; the keys are listened to on the element around it.
    this.viewer.canvas.tabIndex = -1;
    this.listen();
  }

  listen() {
    const viewer = this.viewer;
    viewer.addHandler("update-viewport", () => this.dispatchEvent(new Event("view")));
    viewer.addHandler("resize", () => this.dispatchEvent(new Event("view")));
    viewer.addHandler("canvas-click", (event) => {
      if (event.quick && this.sample) this.tell("pick", this.imagePoint(event.position.x, event.position.y));
    });
    viewer.addHandler("tile-load-failed", (event) => this.onFailedTile(event));
    this.canvas.addEventListener("pointermove", ({ clientX, clientY, pointerType }) => {
      // Browsers also tell of a pointer that rests while the page below it changes.
      const moved = this.pointer?.clientX !== clientX || this.pointer?.clientY !== clientY;
      if (!this.sample || pointerType === "touch" || !moved) return;
      this.pointer = { clientX, clientY };
      this.tell("hover", this.pointedAt());
    });
    this.canvas.addEventListener("pointerleave", ({ pointerType }) => {
      if (pointerType === "touch") return;
      this.pointer = null;
      this.tell("hover", null);
    });
  }

  /** Return the point of the image below the pointer, or null where that is elsewhere. */
  pointedAt() {
    if (!this.pointer || !this.sample) return null;
    const box = this.canvas.getBoundingClientRect();
    return this.imagePoint(this.pointer.clientX - box.left, this.pointer.clientY - box.top);
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  async onFailedTile(event) {
    const { sample } = this;
    if (this.broken || !sample || event.tiledImage.sampleShown !== sample) return;
    this.broken = true;
    const words = await reasonOf(event.tile.getUrl());
    if (words && this.sample === sample) this.tell("broken", words);
  }

  /**
   * Show a sample's image at a place {x, y, zoom}, or the whole of it. Where `place` is "stay" and the image has the
   * size of the one before, the view stays, and the old image until the new one is there.
   */
  show(sample, channels, outlines, place = null) {
    const old = this.sample;
    const stay = place === "stay" && old?.width === sample.width && old?.height === sample.height;
    if (!stay) this.clear();
    this.sample = sample;
    this.broken = false;
    this.arrival = stay ? undefined : place === "stay" ? null : place;
    this.setChannels(channels);
    this.setOutlines(outlines);
  }

  /** Take the image away. */
  clear() {
    for (const layer of Object.values(this.layers)) if (layer) layer.gone = true;
    this.sample = null;
    this.viewer.world.removeAll();
    this.layers = { image: null, outlines: null };
    this.tell("loading", false);
  }

  /** Ask for all pixels anew at the next `setChannels`: the server has better ones. */
  renew() {
    this.edition += 1;
  }

  setChannels(channels) {
    const query = compositeQuery(channels) && `${compositeQuery(channels)}&edition=${this.edition}`;
    const { sample } = this.sample;
    const url = (level, x, y) => imageTile(sample, query, level, x, y);
    this.swap("image", query && this.sample.has_image ? url : null, 1);
  }

  setOutlines({ on, color, opacity }) {
    const { sample } = this.sample;
    const url = (level, x, y) => outlineTile(sample, color, level, x, y);
    const key = `${sample} ${color}`;
    const layer = this.layers.outlines;
    if (layer?.wanted && layer.key === key && on) {
      layer.opacity = opacity;
      layer.item?.setOpacity(opacity);
      return;
    }
    this.swap("outlines", on ? url : null, opacity, key);
  }

  /** Put a new layer above the one of its kind, which goes once the new one is drawn: no flash between. */
  swap(kind, url, opacity, key = null) {
    const before = this.layers[kind];
    const shown = before?.loaded ? before : before?.old; // what was replaced before it was loaded goes at once
    if (before && before !== shown) this.drop(before);
    if (before?.old && before.old !== shown) this.drop(before.old);
    const layer = { item: null, old: shown, opacity, key, wanted: url !== null, loaded: false, gone: false };
    this.layers[kind] = layer;
    if (!layer.wanted) {
      this.settle(layer);
      this.reportLoading();
      return;
    }
    const { width, height, tile_px: tileSize, levels } = this.sample;
    const minLevel = overviewLevel(this.sample);
    const source = { width, height, tileSize, tileOverlap: 0, minLevel, maxLevel: levels - 1, getTileUrl: url };
    if (kind === "outlines" && !this.sample.has_mask) source.tileExists = (level) => level >= levels - DRAWN_LEVELS;
    const { sample } = this;
    this.viewer.addTiledImage({ tileSource: source, width: 1, success: ({ item }) => this.added(layer, item, sample) });
    this.reportLoading();
  }

  added(layer, item, sample) {
    layer.item = item;
    item.sampleShown = sample;
    if (layer.gone) {
      this.viewer.world.removeItem(item);
      return;
    }
    item.setOpacity(layer.opacity);
    this.order();
    this.arrive();
    item.addHandler("fully-loaded-change", () => this.reportLoading());
    item.whenFullyLoaded(() => this.settle(layer));
    setTimeout(() => this.settle(layer), SWAP_WAIT_MS);
    this.reportLoading();
  }

  /** Go to where the image is to be shown first: OpenSeadragon knows its size only once it is there. */
  arrive() {
    if (this.arrival === undefined) return;
    const place = this.arrival;
    this.arrival = undefined;
    this.fit(true);
    if (place) this.goTo(place, true);
  }

  /** Say whether there is an image, where it is to be shown. */
  isThere() {
    return this.sample !== null && this.arrival === undefined;
  }

  /** A layer is there, or waited for long enough: what it replaces goes. */
  settle(layer) {
    layer.loaded = true;
    if (layer.old) this.drop(layer.old);
    layer.old = null;
  }

  drop(layer) {
    layer.gone = true;
    if (layer.item && this.viewer.world.getIndexOfItem(layer.item) >= 0) this.viewer.world.removeItem(layer.item);
  }

  /** Outlines lie above pixels. */
  order() {
    const { world } = this.viewer;
    for (const layer of [this.layers.outlines?.old, this.layers.outlines]) {
      if (layer?.item && world.getIndexOfItem(layer.item) >= 0) world.setItemIndex(layer.item, world.getItemCount() - 1);
    }
  }

  reportLoading() {
    const wanted = Object.values(this.layers).filter((layer) => layer?.wanted);
    this.tell("loading", wanted.some((layer) => !layer.item?.getFullyLoaded()));
  }

  // Where things are. Screen coordinates are CSS pixels from the canvas's upper left corner.

  /** Return {scale, x, y}: a point of the image is at scale * point + (x, y) on the screen. */
  transform(current = true) {
    const box = this.viewer.viewport.getBoundsNoRotate(current);
    const side = this.viewer.viewport.getContainerSize().x / box.width;
    return { scale: side / this.sample.width, x: -box.x * side, y: -box.y * side };
  }

  imagePoint(x, y) {
    const at = this.transform();
    return { x: (x - at.x) / at.scale, y: (y - at.y) / at.scale };
  }

  /** Return {x, y, zoom}: the centre in image pixels, and screen pixels per image pixel, where a move will end. */
  view() {
    const at = this.transform(false);
    const size = this.viewer.viewport.getContainerSize();
    return { x: (size.x / 2 - at.x) / at.scale, y: (size.y / 2 - at.y) / at.scale, zoom: at.scale };
  }

  /** Move to a centre in image pixels; without a zoom it stays, but at least `closest` of {x, y, zoom, closest}. */
  goTo({ x, y, zoom = null, closest = 0 }, immediately = false) {
    const { viewport } = this.viewer;
    const scale = Math.min(zoom ?? Math.max(this.view().zoom, closest), CLOSEST);
    viewport.zoomTo((scale * this.sample.width) / viewport.getContainerSize().x, null, immediately);
    viewport.panTo(new OpenSeadragon.Point(x / this.sample.width, y / this.sample.width), immediately);
    viewport.applyConstraints(immediately);
  }

  zoomBy(factor) {
    this.viewer.viewport.zoomBy(factor);
    this.viewer.viewport.applyConstraints();
  }

  /** Move by shares of what is seen. */
  panBy(right, down) {
    const box = this.viewer.viewport.getBounds();
    this.viewer.viewport.panBy(new OpenSeadragon.Point(right * box.width, down * box.height));
    this.viewer.viewport.applyConstraints();
  }

  fit(immediately = false) {
    this.viewer.viewport.goHome(immediately);
  }

  /** Show pixels as squares where they are larger than the screen's. */
  sharpen(scale) {
    const smooth = scale < LARGE;
    if (smooth === this.smooth) return;
    this.smooth = smooth;
    this.viewer.drawer.setImageSmoothingEnabled(smooth);
  }
}
