// The object that is followed: what it looks like, since when it is there, and what happened to it.

import { duration } from "./track_list.js";

const THUMBNAIL_MS = 400;
const EVENTS_MS = 2000;
const MARGIN = 0.15; // of the box, around it
const WORDS = {
  born: "First seen",
  lost: "Lost from view",
  found: "Found again",
  gone: "Gone for good",
  enter: "Entered",
  leave: "Left",
  cross: "Crossed",
  dwell: "Stays in",
};

export class Life {
  #root;
  #camera = null;
  #id = null;
  #track = null;
  #seenAt_s = 0; // captured time of the frame on which it was seen last
  #firstAt_s = 0;
  #thumbnailAt = -Infinity;
  #poll = null;
  #onChange;

  // onChange(id): another object is followed, or none (null).
  constructor(root, onChange) {
    this.#root = root;
    this.#onChange = onChange;
    root.querySelector("button").addEventListener("click", () => this.leave());
  }

  get id() {
    return this.#id;
  }

  // `frame`: on which the track is.
  follow(camera, track, frame) {
    if (track.id === this.#id) return;
    Object.assign(this.#part("thumbnail"), { width: 0, height: 0 });
    this.#camera = camera;
    this.#id = track.id;
    this.#seenAt_s = frame.captured_at_s;
    this.#firstAt_s = frame.captured_at_s - track.age_s;
    this.#thumbnailAt = -Infinity;
    this.#root.hidden = false;
    this.#root.style.setProperty("--color", track.color);
    this.#part("events").replaceChildren();
    this.#draw(track, track.state);
    this.#askEvents(track.id);
    this.#onChange(track.id);
  }

  leave() {
    if (this.#id === null) return;
    clearTimeout(this.#poll);
    this.#id = this.#track = null;
    this.#root.hidden = true;
    this.#onChange(null);
  }

  // Each tracked frame of its camera.
  update(frame) {
    if (this.#id === null) return;
    const track = frame.tracks.find(({ id }) => id === this.#id);
    if (track?.state === "confirmed") this.#seenAt_s = frame.captured_at_s;
    this.#draw(track ?? this.#track, track ? track.state : "gone");
  }

  // A picture in which it may be: image of `size` pixels, or a video.
  look(image, size, frame) {
    const now = performance.now();
    const track = frame?.tracks.find(({ id, state }) => id === this.#id && state === "confirmed");
    if (!track || now - this.#thumbnailAt < THUMBNAIL_MS) return;
    this.#thumbnailAt = now;
    const [x, y, wide, high] = around(track.box, size, (image.displayWidth ?? image.videoWidth ?? image.width) / size.width);
    const canvas = this.#part("thumbnail");
    const finer = Math.max(1, Math.ceil(160 / high));
    Object.assign(canvas, { width: Math.round(wide * finer), height: Math.round(high * finer) });
    canvas.getContext("2d").drawImage(image, x, y, wide, high, 0, 0, canvas.width, canvas.height);
  }

  #draw(track, state) {
    this.#track = track;
    this.#root.dataset.state = state;
    this.#text("title", `${track.label} #${track.id}`);
    this.#text("state", { confirmed: "In view", tentative: "New", lost: "Lost from view", gone: "Not in view" }[state] ?? state);
    this.#text("first", time(this.#firstAt_s));
    this.#text("duration", duration(this.#seenAt_s - this.#firstAt_s));
    this.#text("score", `${Math.round(100 * track.score)}%`);
    const [x0, y0, x1, y1] = track.box;
    this.#text("size", `${Math.round(x1 - x0)} × ${Math.round(y1 - y0)} px`);
  }

  async #askEvents(id) {
    clearTimeout(this.#poll);
    try {
      const response = await fetch(`/api/cameras/${encodeURIComponent(this.#camera)}/events`);
      if (response.ok && id === this.#id) this.#drawEvents((await response.json()).filter((event) => event.id === id));
    } catch {
      // The next one may find the server.
    }
    if (id === this.#id) this.#poll = setTimeout(() => this.#askEvents(id), EVENTS_MS);
  }

  #drawEvents(events) {
    const born = events.find(({ event }) => event === "born");
    if (born) this.#firstAt_s = born.born_at_s;
    const list = this.#part("events");
    if (list.childElementCount === events.length) return;
    list.replaceChildren(...events.toReversed().map(eventRow));
  }

  #part(name) {
    return this.#root.querySelector(`[data-part="${name}"]`);
  }

  #text(name, text) {
    const part = this.#part(name);
    if (part.textContent !== text) part.textContent = text;
  }
}

const time = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

function eventRow(event) {
  const row = document.createElement("li");
  const when = document.createElement("time");
  when.textContent = time(event.captured_at_s);
  when.dateTime = new Date(1000 * event.captured_at_s).toISOString();
  const where = event.zone ?? event.line;
  row.dataset.event = event.event;
  row.append(when, ` ${WORDS[event.event] ?? event.event}${where ? ` ${where}` : ""}`);
  return row;
}

// The box and a margin, inside the picture: left, top, width, height, in the image's own pixels.
function around([x0, y0, x1, y1], { width, height }, scale) {
  const margin = MARGIN * Math.max(x1 - x0, y1 - y0);
  const [left, top] = [Math.max(0, x0 - margin), Math.max(0, y0 - margin)];
  const [right, bottom] = [Math.min(width, x1 + margin), Math.min(height, y1 + margin)];
  return [left, top, Math.max(1, right - left), Math.max(1, bottom - top)].map((value) => value * scale);
}
