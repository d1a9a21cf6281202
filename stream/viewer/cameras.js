// The cameras as the server reports them, asked for every two seconds, and the one that is watched.

const POLL_MS = 2000;
const STALE_S = 2.5;

export class Cameras {
  #onChoose;
  #onReport;
  #onDenied;
  #poll = null;
  #asked = 0;

  list = [];
  reachable = null;
  denied = false;
  chosen = null;

  // onChoose(name): another camera is watched now. onReport(): fresh figures are in `list`. onDenied(): a token is
  // needed.
  constructor({ onChoose, onReport, onDenied }) {
    this.#onChoose = onChoose;
    this.#onReport = onReport;
    this.#onDenied = onDenied;
  }

  // Ask now, and from now on.
  async refresh() {
    clearTimeout(this.#poll);
    await this.#ask();
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => this.refresh(), this.list.length ? POLL_MS : POLL_MS / 2);
  }

  get current() {
    return this.list.find((camera) => camera.name === this.chosen) ?? null;
  }

  choose(name) {
    this.chosen = name;
    this.#onChoose(name);
  }

  step(by) {
    const at = this.list.findIndex((camera) => camera.name === this.chosen);
    if (this.list.length > 1) this.choose(this.list[(at + by + this.list.length) % this.list.length].name);
  }

  async #ask() {
    this.#asked += 1;
    const asked = this.#asked;
    const [status, list] = await ask();
    if (asked !== this.#asked) return; // what was asked later counts: a token may have been shown since
    this.denied = status === 401;
    if (this.denied) this.#onDenied();
    this.reachable = list !== null;
    this.list = list ?? this.list;
    const gone = this.reachable && this.current === null;
    if (gone && this.list.length) this.choose(this.#first());
    else if (gone && this.chosen !== null) this.choose(null);
    this.#onReport();
  }

  #first() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    return (this.list.find((camera) => camera.name === wanted) ?? this.list[0]).name;
  }
}

// Status and list; null where there is no list.
async function ask() {
  try {
    const response = await fetch("/api/cameras", { signal: AbortSignal.timeout(4000) });
    return [response.status, response.ok ? await response.json() : null];
  } catch {
    return [0, null];
  }
}

// What a camera is doing: a word for machines, and words for people.
export function stateOf(camera) {
  if (!camera.up) return camera.state === "away" ? ["away", "Away"] : ["waiting", "Waiting"];
  if (camera.flags?.includes("stale")) return ["frozen", "Frozen"];
  if (camera.last_frame_age_s === null) return ["waiting", "Starting"];
  if (camera.last_frame_age_s > STALE_S) return ["stale", "Stale"];
  return ["live", "Live"];
}
