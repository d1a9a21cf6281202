// One canvas: the picture, and on it what is known of it and wanted. Picture and masks are drawn in one go: two layers
// of a page could be shown at different moments.

import { covers, drawMask, rgbOf } from "./mask_pixels.js";

const FAINT = 0.3; // of the usual opacity, for all others while one object is followed
const COMPACT = 560; // pixels of the screen: on a smaller picture tags are short
const FINEST = 2; // canvas pixels a picture's pixel, where the picture is small and shown large

export class Painter {
  #canvas;
  #context;
  #layer = document.createElement("canvas");
  #display;
  #trails;
  #zones;
  #compact = false;
  #painted = null; // the frame that is on the canvas

  followed = null; // id of a track

  // onPaint(image, size, frame): called after each picture, whose image may be read until it returns.
  constructor(canvas, { display, trails, zones, onPaint }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#display = display;
    this.#trails = trails;
    this.#zones = zones;
    this.onPaint = onPaint;
  }

  get canvas() {
    return this.#canvas;
  }

  // The frame whose picture is on the canvas, or null.
  get painted() {
    return this.#painted;
  }

  get hidden() {
    return this.#canvas.hidden;
  }

  hide() {
    this.#canvas.hidden = true;
    this.#painted = null;
  }

  // A picture of `size` pixels, in which masks and boxes are. The image may be smaller. `frame`: what is on it; null
  // where that is drawn into the image.
  paint(image, size, frame) {
    const scale = this.#prepare(size);
    this.#context.drawImage(image, 0, 0, size.width, size.height);
    if (frame !== null) this.#drawFrame(frame, scale);
    this.#painted = frame;
    this.#canvas.hidden = false;
    this.onPaint(image, size, frame);
    this.#canvas.dispatchEvent(new CustomEvent("drawn", { detail: frame }));
  }

  // The track at (x, y), shares of the picture, on the frame that is shown: the smallest of several.
  trackAt(x, y, newest) {
    const frame = this.#painted ?? newest;
    if (frame === null) return null;
    const [column, row] = [x * frame.width, y * frame.height];
    const near = frame.tracks
      .filter((track) => track.state === "confirmed" && this.#display.shows(track) && within(track.box, column, row))
      .sort((one, other) => area(one.box) - area(other.box));
    return near.find((track) => covers(track.mask, column, row)) ?? near[0] ?? null;
  }

  // Makes the canvas fit; lengths for the screen times the answer are lengths on the picture.
  #prepare({ width, height }) {
    const across = this.#canvas.clientWidth || this.#canvas.parentElement.clientWidth || width;
    const finer = Math.max(1, Math.min(FINEST, Math.round((across * devicePixelRatio) / width)));
    if (this.#canvas.width !== width * finer || this.#canvas.height !== height * finer) {
      Object.assign(this.#canvas, { width: width * finer, height: height * finer });
    }
    this.#context.setTransform(finer, 0, 0, finer, 0, 0);
    this.#context.clearRect(0, 0, width, height);
    this.#compact = across < COMPACT;
    return Math.max(1 / finer, width / across);
  }

  #drawFrame(frame, scale) {
    const tracks = frame.tracks.filter(
      (track) => track.state === "confirmed" && (this.#display.shows(track) || track.id === this.followed),
    );
    tracks.sort((one, other) => area(other.box) - area(one.box)); // small ones stay visible
    const someone = tracks.some(({ id }) => id === this.followed);
    if (this.#display.masks) {
      for (const track of tracks) {
        const faint = someone && track.id !== this.followed;
        drawMask(this.#context, this.#layer, track, { opacity: this.#display.opacity * (faint ? FAINT : 1) });
      }
    }
    if (this.#display.trails) this.#trails.draw(this.#context, tracks.map(({ id }) => id), scale);
    for (const track of tracks) if (this.#display.boxes) drawBox(this.#context, track.box, track.color, 1.6 * scale);
    if (this.#display.zones) this.#zones.draw(this.#context, frame.width, frame.height, scale);
    for (const track of tracks) if (this.#display.labels) drawTag(this.#context, frame, track, this.#compact, scale);
    for (const track of tracks) if (track.id === this.followed) drawMarks(this.#context, track.box, scale);
  }
}

const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
const within = ([x0, y0, x1, y1], x, y) => x0 <= x && x < x1 && y0 <= y && y < y1;

function drawBox(context, [x0, y0, x1, y1], color, width) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

// Corners around the object that is followed.
function drawMarks(context, [x0, y0, x1, y1], scale) {
  const [gap, arm] = [5 * scale, Math.max(8 * scale, Math.min(x1 - x0, y1 - y0) / 4)];
  context.beginPath();
  for (const [x, right] of [[x0 - gap, 1], [x1 + gap, -1]]) {
    for (const [y, down] of [[y0 - gap, 1], [y1 + gap, -1]]) {
      context.moveTo(x + right * arm, y);
      context.lineTo(x, y);
      context.lineTo(x, y + down * arm);
    }
  }
  for (const [color, width] of [["rgb(0 0 0 / 60%)", 4.5], ["#fff", 2.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width * scale;
    context.stroke();
  }
}

function drawTag(context, frame, { id, label, score, box: [x0, y0], color }, compact, scale) {
  const text = compact ? `${id} ${label}` : `${id} ${label} ${Math.round(100 * score)}%`;
  const points = (compact ? 9.5 : 11.5) * scale;
  const high = 1.5 * points;
  context.font = `600 ${points}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + 8 * scale;
  const left = Math.max(0, Math.min(x0, frame.width - wide));
  const top = y0 >= high ? y0 - high : Math.max(0, Math.min(y0, frame.height - high));
  context.fillStyle = color;
  context.fillRect(left, top, wide, high);
  const rgb = rgbOf(color);
  const luma = 0.299 * (rgb >> 16) + 0.587 * ((rgb >> 8) & 0xff) + 0.114 * (rgb & 0xff);
  context.fillStyle = luma > 120 ? "#12141a" : "#fff";
  context.fillText(text, left + 4 * scale, top + high - 0.42 * points);
}
