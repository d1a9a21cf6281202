// The cameras as tiles: a strip beside the large picture, or a grid of live ones. A click, Enter or the arrow keys
// choose.

import { stateOf } from "./cameras.js";
import { PictureSocket } from "./picture_socket.js";

const THUMBNAIL_MS = 6000;
const WIDTH = 480; // pixels, of what is kept of a picture

export class CameraTiles {
  #nav;
  #tiles = new Map();
  #onChoose;
  #thumbnailsAt = -Infinity;
  #grid = false;
  #visible = new IntersectionObserver((entries) => this.#onVisible(entries));

  // onChoose(name): somebody wants to see it large.
  constructor(nav, onChoose) {
    this.#nav = nav;
    this.#onChoose = onChoose;
    nav.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => this.#connect());
  }

  get grid() {
    return this.#grid;
  }

  set grid(grid) {
    this.#grid = grid;
    this.#thumbnailsAt = -Infinity;
    this.#connect();
  }

  focus(name) {
    this.#tiles.get(name)?.button.focus();
  }

  draw(cameras) {
    this.#nav.hidden = cameras.list.length < 2 && !this.#grid;
    const names = new Set(cameras.list.map((camera) => camera.name));
    for (const [name, tile] of this.#tiles) if (!names.has(name)) this.#remove(name, tile);
    const now = performance.now();
    const thumbnails = !document.hidden && cameras.reachable && now - this.#thumbnailsAt > THUMBNAIL_MS;
    if (thumbnails) this.#thumbnailsAt = now;
    for (const camera of cameras.list) {
      const tile = this.#tiles.get(camera.name) ?? this.#add(camera.name);
      drawTile(tile, camera, camera.name === cameras.chosen);
      const still = !this.#grid && thumbnails && camera.up && camera.last_frame_age_s !== null;
      if (still) this.#fetchThumbnail(tile, camera.name);
    }
    this.#nav.dataset.columns = String(cameras.list.length < 5 ? 2 : cameras.list.length < 10 ? 3 : 4);
    this.#reachable(cameras);
  }

  // One of the tiles can be reached with Tab, the arrow keys lead to the others.
  #reachable(cameras) {
    const chosen = this.#tiles.get(cameras.chosen) ?? this.#tiles.values().next().value;
    const focused = [...this.#tiles.values()].find(({ button }) => button === document.activeElement);
    for (const tile of this.#tiles.values()) tile.button.tabIndex = tile === (focused ?? chosen) ? 0 : -1;
  }

  async #fetchThumbnail(tile, name) {
    try {
      const response = await fetch(`/api/cameras/${encodeURIComponent(name)}/snapshot.jpg`);
      if (!response.ok) return;
      const image = await createImageBitmap(await response.blob());
      drawPicture(tile.canvas, image);
      image.close();
    } catch {
      // The next one will show whether the server is there.
    }
  }

  #add(name) {
    const tile = newTile(name);
    tile.button.addEventListener("click", () => this.#onChoose(name));
    tile.socket = new PictureSocket((image) => drawPicture(tile.canvas, image));
    this.#tiles.set(name, tile);
    this.#nav.append(tile.button);
    this.#visible.observe(tile.button);
    return tile;
  }

  #remove(name, tile) {
    this.#visible.unobserve(tile.button);
    tile.socket.close();
    tile.button.remove();
    this.#tiles.delete(name);
  }

  #onVisible(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = this.#tiles.get(target.dataset.camera);
      if (tile) tile.inView = isIntersecting;
    }
    this.#connect();
  }

  // Only what can be seen is asked for.
  #connect() {
    for (const [name, tile] of this.#tiles) {
      const wanted = this.#grid && tile.inView && !document.hidden;
      if (wanted && !tile.socket.active) tile.socket.open(name, { size: "small" });
      else if (!wanted && tile.socket.active) tile.socket.close();
    }
  }

  #onKey(event) {
    const tiles = [...this.#nav.querySelectorAll(".card")];
    const at = tiles.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(tiles), ArrowDown: columns(tiles) }[event.key];
    const to = { Home: 0, End: tiles.length - 1 }[event.key] ?? at + step;
    if (at < 0 || Number.isNaN(to)) return;
    event.preventDefault();
    event.stopPropagation();
    const next = tiles[Math.max(0, Math.min(tiles.length - 1, to))];
    for (const tile of tiles) tile.tabIndex = tile === next ? 0 : -1;
    next.focus();
  }
}

function columns(tiles) {
  const row = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
  return row < 0 ? tiles.length : row;
}

function newTile(name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.dataset.camera = name;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: WIDTH, height: (9 * WIDTH) / 16 });
  canvas.setAttribute("aria-hidden", "true");
  const row = document.createElement("div");
  const title = document.createElement("b");
  title.textContent = name;
  const state = document.createElement("em");
  const objects = document.createElement("span");
  row.append(document.createElement("i"), title, state);
  const why = document.createElement("small");
  button.append(canvas, row, objects, why);
  return { button, canvas, state, objects, why, socket: null, inView: false };
}

function drawTile({ button, state, objects, why }, camera, chosen) {
  const [word, text] = stateOf(camera);
  const count = camera.active_tracks;
  const inView = `${count} ${count === 1 ? "object" : "objects"} in view`;
  button.dataset.state = word;
  button.setAttribute("aria-pressed", String(chosen));
  button.setAttribute("aria-label", `Watch ${camera.name}: ${text}${camera.up ? `, ${inView}` : ""}`);
  button.title = camera.up ? inView : camera.last_error ?? camera.state;
  state.textContent = text;
  why.textContent = camera.up ? "" : camera.last_error ?? "";
  objects.hidden = !camera.up;
  objects.textContent = String(count);
}

function drawPicture(canvas, image) {
  const [width, height] = [WIDTH, Math.round((WIDTH * image.height) / image.width)];
  if (canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.dataset.pictures = String(Number(canvas.dataset.pictures ?? 0) + 1);
}
