// What a person sees of the large picture, as one of five states, and the reason in words.

export const STALE_MS = 2500;

export const CHIPS = {
  live: "Live",
  connecting: "Connecting",
  stale: "Stale",
  frozen: "Frozen",
  reconnecting: "Reconnecting",
};

// `now`, `newestAt` (the newest answer) and `shownAt` (the newest picture on the screen) in ms on the page's clock.
export function judge({ now, camera, cameras, newest, newestAt, shownAt, socketOpen, everLive, retrying, hidden }) {
  if (cameras.denied) return ["connecting", "Waiting for a token", ""];
  if (cameras.reachable === false && !socketOpen) {
    return ["reconnecting", "The server does not answer", "Trying again by itself"];
  }
  if (cameras.reachable && !cameras.list.length) return ["connecting", "There is no camera", "Add one to watch it"];
  if (!camera) return ["connecting", "Connecting", ""];
  if (!camera.up && now - newestAt > STALE_MS) {
    const why = camera.last_error ?? "It will be shown as soon as it sends pictures";
    if (everLive || camera.received > 0) return ["reconnecting", "The camera went away, reconnecting", why];
    return ["connecting", "Waiting for the camera", why];
  }
  if (newest && now - newestAt > STALE_MS) {
    return ["stale", "The picture stands still", `No new frame for ${Math.round((now - newestAt) / 1000)} s`];
  }
  if (!hidden && now - shownAt > STALE_MS) {
    const again = everLive || retrying;
    return [again ? "reconnecting" : "connecting", again ? "Reconnecting the picture" : "Starting the picture", ""];
  }
  if (newest?.flags.includes("stale")) {
    return ["frozen", "The picture is frozen", "The camera sends the same picture again and again"];
  }
  return ["live", "Live", ""];
}
