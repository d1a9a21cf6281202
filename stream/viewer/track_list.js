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
  #shows;
  #followed = null;

  // shows(track): whether it is wanted. onFollow(track): somebody wants to follow it.
  constructor({ list, empty, count, shows, onFollow }) {
    this.#shows = shows;
    list.addEventListener("click", ({ target }) => {
      const row = this.#rows.get(Number(target.closest(".track")?.dataset.id));
      if (row) onFollow(row.track);
    });
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

  set followed(id) {
    this.#followed = id;
    for (const row of this.#rows.values()) this.#mark(row);
  }

  #mark({ parts, track }) {
    parts.button.setAttribute("aria-pressed", String(track.id === this.#followed));
  }

  // Draw anew: other tracks are wanted.
  refresh() {
    this.#draw(performance.now());
  }

  update(frame) {
    const now = performance.now();
    const tracks = frame.tracks.filter((track) => this.#shows(track));
    for (const track of tracks) {
      let row = this.#rows.get(track.id);
      if (!row) {
        row = { parts: newRow(track) };
        this.#rows.set(track.id, row);
        this.#insert(track.id, row.parts.item);
      }
      const isNew = row.track === undefined;
      Object.assign(row, { track, answeredAt: now });
      if (isNew) this.#mark(row);
      if (isNew) drawRow(row, track.state); // the others are drawn a few times a second
    }
    this.#current = new Map(tracks.map((track) => [track.id, track]));
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
      if (!this.#shows(row.track) || (!track && now - row.answeredAt > LINGER_MS)) {
        row.parts.item.remove();
        this.#rows.delete(id);
        continue;
      }
      drawRow(row, track ? track.state : "left");
    }
    const shown = [...this.#current.values()].filter((track) => isSeen(track) && this.#shows(track));
    this.#count.textContent = String(shown.length);
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
  const button = append(item, "button", "track-row");
  button.type = "button";
  button.title = "Follow it";
  item.dataset.id = String(track.id);
  const swatch = append(button, "span", "swatch");
  swatch.style.color = track.color;
  swatch.style.borderColor = track.color;
  const middle = append(button, "span", "middle");
  const what = append(middle, "span", "what");
  const label = append(what, "b");
  append(what, "span").textContent = `#${track.id}`;
  const fill = append(append(middle, "span", "meter"), "i");
  fill.style.background = track.color;
  const figures = append(button, "span", "figures");
  const score = append(figures, "b");
  const age = append(figures, "span");
  age.title = "In view for";
  return { item, button, label, fill, score, age };
}

function drawRow({ parts, track }, state) {
  const percent = Math.round(100 * track.score);
  setText(parts.label, track.label);
  setText(parts.score, `${percent}%`);
  setText(parts.age, state === "confirmed" ? duration(track.age_s) : state);
  parts.fill.style.width = `${percent}%`;
  parts.item.classList.toggle("gone", state !== "confirmed");
}

export function duration(seconds) {
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
