// The list of tracks: one row for each identity, kept for a moment after it left so that rows do not jump.

const LINGER_MS = 1500;
const EVERY_MS = 200;

export class TrackList {
  #list;
  #rows = new Map();
  #empty;
  #count;
  #drawnAt = -Infinity;
  #current = new Map();

  constructor({ list, empty, count }) {
    this.#list = list;
    this.#empty = empty;
    this.#count = count;
  }

  clear() {
    this.#rows.clear();
    this.#current.clear();
    this.#list.replaceChildren();
    this.#count.textContent = "0";
    this.#empty.hidden = false;
    this.#drawnAt = -Infinity;
  }

  update(frame) {
    const now = performance.now();
    for (const track of frame.tracks) {
      let row = this.#rows.get(track.id);
      if (!row) {
        row = { parts: newRow(track) };
        this.#rows.set(track.id, row);
        this.#insert(track.id, row.parts.item);
      }
      const isNew = row.track === undefined;
      Object.assign(row, { track, answeredAt: now });
      if (isNew) drawRow(row, track.state); // the others are drawn a few times a second
    }
    this.#current = new Map(frame.tracks.map((track) => [track.id, track]));
    if (now - this.#drawnAt >= EVERY_MS) this.#draw(now);
  }

  #insert(id, item) {
    const later = [...this.#rows.keys()].filter((other) => other > id && this.#rows.get(other).parts.item !== item);
    const next = later.length ? this.#rows.get(Math.min(...later)).parts.item : null;
    this.#list.insertBefore(item, next);
  }

  #draw(now) {
    this.#drawnAt = now;
    for (const [id, row] of this.#rows) {
      const track = this.#current.get(id);
      if (!track && now - row.answeredAt > LINGER_MS) {
        row.parts.item.remove();
        this.#rows.delete(id);
        continue;
      }
      drawRow(row, track ? track.state : "left");
    }
    this.#count.textContent = String([...this.#current.values()].filter(isSeen).length);
    this.#empty.hidden = this.#rows.size > 0;
  }
}

// Whether a track was seen on its frame, and is not only waited for.
export function isSeen(track) {
  return track.state === "confirmed";
}

function newRow(track) {
  const item = document.createElement("li");
  item.className = "track";
  item.dataset.id = String(track.id);
  const swatch = append(item, "span", "swatch");
  swatch.style.color = track.color;
  swatch.style.borderColor = track.color;
  const middle = append(item, "div");
  const what = append(middle, "div", "what");
  const label = append(what, "b");
  append(what, "span").textContent = `#${track.id}`;
  const fill = append(append(middle, "div", "meter"), "i");
  fill.style.background = track.color;
  const figures = append(item, "div", "figures");
  const score = append(figures, "b");
  const age = append(figures, "span");
  age.title = "In view for";
  return { item, label, fill, score, age };
}

function drawRow({ parts, track }, state) {
  const percent = Math.round(100 * track.score);
  setText(parts.label, track.label);
  setText(parts.score, `${percent}%`);
  setText(parts.age, state === "confirmed" ? duration(track.age_s) : state);
  parts.fill.style.width = `${percent}%`;
  parts.item.classList.toggle("gone", state !== "confirmed");
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function append(parent, tag, className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  parent.append(element);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
