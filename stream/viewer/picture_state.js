// What a person sees of the large picture, as one of five states, and the reason in words.

const STALE_MS = 2500;
const MISSED = 3; // so many frames that did not come, of a camera that is slower than that, are too many

export const CHIPS = {
  live: "Live",
  connecting: "Connecting",
  stale: "Stale",
  frozen: "Frozen",
  reconnecting: "Reconnecting",
};

// How often a camera's frames come, and from when on the newest one is stale: a slow camera is not a broken one.
export class Pace {
  #at = -Infinity;
  #usualMs = 0;

  get staleMs() {
    return Math.max(STALE_MS, MISSED * this.#usualMs);
  }

  add(now) {
    // A pause says that the camera was away; a few of them, that it is slow.
    if (this.#at > -Infinity) this.#usualMs += 0.2 * (Math.min(now - this.#at, 2 * this.staleMs) - this.#usualMs);
    this.#at = now;
  }

  clear() {
    this.#at = -Infinity;
    this.#usualMs = 0;
  }
}

// `now`, `newestAt` (the newest answer) and `shownAt` (the newest picture on the screen) in ms on the page's clock;
// `staleMs`: see Pace.
export function judge(seen) {
  const { now, camera, cameras, newest, newestAt, shownAt, staleMs, socketOpen, everLive, retrying, hidden } = seen;
  if (cameras.denied) return ["connecting", "Waiting for a token", ""];
  if (cameras.reachable === false && !socketOpen) {
    return ["reconnecting", "The server does not answer", "Trying again by itself"];
  }
  if (cameras.reachable && !cameras.list.length) return ["connecting", "There is no camera", "Add one to watch it"];
  if (!camera) return ["connecting", "Connecting", ""];
  if (!camera.up && now - newestAt > staleMs) {
    const why = camera.last_error ?? "It will be shown as soon as it sends pictures";
    if (everLive || camera.received > 0) return ["reconnecting", "The camera went away, reconnecting", why];
    return ["connecting", "Waiting for the camera", why];
  }
  if (newest && now - newestAt > staleMs) {
    return ["stale", "The picture stands still", `No new frame for ${Math.round((now - newestAt) / 1000)} s`];
  }
  if (!hidden && now - shownAt > staleMs) {
    const again = everLive || retrying;
    return [again ? "reconnecting" : "connecting", again ? "Reconnecting the picture" : "Starting the picture", ""];
  }
  if (newest?.flags.includes("stale")) {
    return ["frozen", "The picture is frozen", "The camera sends the same picture again and again"];
  }
  return ["live", "Live", ""];
}
