// The cameras as the server reports them: asked for every two seconds, shown as cards where there are several.

const POLL_MS = 2000;
const THUMBNAIL_MS = 6000;

export class Cameras {
  #nav;
  #cards = new Map();
  #onChoose;
  #onReport;
  #onDenied;
  #thumbnailsAt = -Infinity;

  list = [];
  reachable = null;
  denied = false;
  chosen = null;

  // onChoose(name): somebody chose a camera. onReport(): fresh figures are in `list`. onDenied(): a token is needed.
  constructor(nav, { onChoose, onReport, onDenied }) {
    this.#nav = nav;
    this.#onChoose = onChoose;
    this.#onReport = onReport;
    this.#onDenied = onDenied;
  }

  start() {
    const poll = async () => {
      await this.#poll();
      setTimeout(poll, this.list.length ? POLL_MS : POLL_MS / 2);
    };
    poll();
  }

  get current() {
    return this.list.find((camera) => camera.name === this.chosen) ?? null;
  }

  choose(name) {
    this.chosen = name;
    for (const [other, card] of this.#cards) card.button.setAttribute("aria-pressed", String(other === name));
    this.#onChoose(name);
  }

  step(by) {
    const at = this.list.findIndex((camera) => camera.name === this.chosen);
    if (this.list.length > 1) this.choose(this.list[(at + by + this.list.length) % this.list.length].name);
  }

  async #poll() {
    try {
      const response = await fetch("/api/cameras", { signal: AbortSignal.timeout(4000) });
      this.denied = response.status === 401;
      if (this.denied) this.#onDenied();
      if (!response.ok) throw new Error(String(response.status));
      this.list = await response.json();
      this.reachable = true;
    } catch {
      this.reachable = false;
    }
    this.#draw();
    if (this.reachable && this.chosen === null && this.list.length) this.choose(this.#first());
    this.#onReport();
  }

  #first() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    return (this.list.find((camera) => camera.name === wanted) ?? this.list[0]).name;
  }

  #draw() {
    this.#nav.hidden = this.list.length < 2;
    if (this.#nav.hidden) return;
    const now = performance.now();
    const thumbnails = !document.hidden && this.reachable && now - this.#thumbnailsAt > THUMBNAIL_MS;
    if (thumbnails) this.#thumbnailsAt = now;
    for (const camera of this.list) {
      const card = this.#cards.get(camera.name) ?? this.#add(camera.name);
      card.button.dataset.up = String(camera.up);
      card.button.title = camera.up ? `${camera.active_tracks} objects in view` : camera.last_error ?? camera.state;
      card.figures.textContent = camera.up ? String(camera.active_tracks) : camera.state.split(" ")[0];
      if (thumbnails && camera.up && camera.last_frame_age_s !== null) {
        card.image.src = `/api/cameras/${encodeURIComponent(camera.name)}/snapshot.jpg?t=${Math.round(now)}`;
      }
    }
  }

  #add(name) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "card";
    button.setAttribute("aria-pressed", String(name === this.chosen));
    button.setAttribute("aria-label", `Watch ${name}`);
    button.addEventListener("click", () => this.choose(name));
    const image = new Image();
    image.alt = "";
    const row = document.createElement("div");
    const title = document.createElement("b");
    title.textContent = name;
    const figures = document.createElement("span");
    row.append(document.createElement("i"), title, figures);
    button.append(image, row);
    this.#nav.append(button);
    const card = { button, image, figures };
    this.#cards.set(name, card);
    return card;
  }
}
