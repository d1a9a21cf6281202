// The page: one camera large, its figures and its tracks; what to say when something is missing.

import { Cameras } from "./cameras.js";
import { MaskCanvas, MaskMessages } from "./masks.js";
import { Sparkline, SlidingWindow } from "./figures.js";
import { SignIn } from "./sign_in.js";
import { TrackList, isSeen } from "./track_list.js";
import { TracksSocket } from "./tracks_socket.js";
import { WhepPlayer } from "./whep.js";

const STALE_MS = 2500;
const STALL_MS = 5000;
const WINDOW_S = 5;

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const video = $("video");

const presented = new SlidingWindow(WINDOW_S);
const latencies = new SlidingWindow(WINDOW_S);
const fpsCurve = new Sparkline($("fps-spark"));
const latencyCurve = new Sparkline($("latency-spark"));
const trackList = new TrackList({ list: $("tracks"), empty: $("tracks-empty"), count: $("tracks-count") });
const maskCanvas = new MaskCanvas(video, $("masks"));
const maskMessages = new MaskMessages((frame) => maskCanvas.add(frame));
const player = new WhepPlayer(video, (data) => maskMessages.take(data));

let newest = null; // the tracked frame received last
let newestAt = -Infinity; // when, on the page's clock
let presentedAt = -Infinity; // when the video showed a picture last
let everLive = false;

const socket = new TracksSocket({
  onFrame: (frame) => {
    newest = frame;
    newestAt = performance.now();
    latencies.add(1000 * (frame.published_at_s - frame.captured_at_s));
    trackList.update(frame);
  },
  onReopen: () => player.restart(),
});

const cameras = new Cameras($("cameras"), {
  onChoose: (name) => {
    newest = null;
    newestAt = presentedAt = -Infinity;
    everLive = false;
    for (const each of [presented, latencies, fpsCurve, latencyCurve, trackList]) each.clear();
    $("camera-name").textContent = name;
    document.title = `${name} · SyncVIS Online`;
    if (location.hash.slice(1) !== encodeURIComponent(name)) history.replaceState(null, "", `#${encodeURIComponent(name)}`);
    socket.follow(name);
    maskCanvas.clear();
    player.play(name);
    drawState();
  },
  onReport: () => drawReport(),
  onDenied: () => signIn.ask(),
});

const signIn = new SignIn($("sign-in"), () => {
  if (cameras.chosen !== null) cameras.choose(cameras.chosen);
});

function onPresented() {
  presentedAt = performance.now();
  presented.add(1, presentedAt);
  video.requestVideoFrameCallback(onPresented);
}

// What the person sees is one of four states; the reason is said in words.
function judge(now) {
  const camera = cameras.current;
  if (cameras.denied) return ["connecting", "Waiting for a token", ""];
  if (cameras.reachable === false && !socket.open) {
    return ["reconnecting", "The server does not answer", "Trying again by itself"];
  }
  if (!camera) return ["connecting", "Connecting", ""];
  if (!camera.up && now - newestAt > STALE_MS) {
    const why = camera.last_error ?? "It will be shown as soon as it sends pictures";
    if (everLive || camera.received > 0) return ["reconnecting", "The camera went away, reconnecting", why];
    return ["connecting", "Waiting for the camera", why];
  }
  if (newest && now - newestAt > STALE_MS) {
    return ["stale", "The picture stands still", `No new frame for ${Math.round((now - newestAt) / 1000)} s`];
  }
  if (!document.hidden && now - presentedAt > STALE_MS) {
    const again = everLive || player.state === "retrying";
    return [again ? "reconnecting" : "connecting", again ? "Reconnecting the picture" : "Starting the picture", ""];
  }
  return ["live", "Live", ""];
}

const CHIP = { live: "Live", connecting: "Connecting", stale: "Stale", reconnecting: "Reconnecting" };

function drawState() {
  const now = performance.now();
  const [state, title, detail] = judge(now);
  if (state === "live") everLive = true;
  if (stage.dataset.state !== state) {
    stage.dataset.state = state;
    document.body.dataset.fresh = String(state !== "stale" && state !== "reconnecting");
    $("chip-text").textContent = CHIP[state];
    $("announce").textContent = state === "live" ? "The picture is live" : title;
  }
  if (state !== "live") {
    $("veil-title").textContent = title;
    $("veil-detail").textContent = detail;
  }
  $("snapshot").disabled = newest === null;
  // A connection that says it plays, while frames are published and none is shown, is of no use any more.
  const stalled = now - Math.max(presentedAt, playingSince) > STALL_MS && now - newestAt < STALE_MS;
  if (player.state === "playing") {
    if (stalled && !document.hidden) {
      playingSince = now;
      player.restart();
    }
  } else {
    playingSince = now;
  }
}

let playingSince = -Infinity;

function drawFigures() {
  const now = performance.now();
  const fps = presented.rate(now);
  const [p50, p95] = [latencies.quantile(0.5, now), latencies.quantile(0.95, now)];
  $("fps").textContent = fps === null ? "–" : fps.toFixed(fps < 9.95 ? 1 : 0);
  const inSeconds = p50 !== null && p50 >= 9999.5;
  const show = (ms) => (ms === null ? "–" : inSeconds ? (ms / 1000).toFixed(1) : String(Math.round(ms)));
  $("latency").textContent = show(p50);
  $("latency-p95").textContent = show(p95);
  for (const unit of document.querySelectorAll(".latency-unit")) unit.textContent = inSeconds ? "s" : "ms";
  fpsCurve.add(fps);
  latencyCurve.add(p50);
  drawObjects();
  $("clock").hidden = newest === null;
  if (newest) $("clock").textContent = new Date(1000 * newest.captured_at_s).toLocaleTimeString();
}

function drawObjects() {
  const tracks = (newest?.tracks ?? []).filter(isSeen);
  $("objects").textContent = newest ? String(tracks.length) : "–";
  const byLabel = new Map();
  for (const { label } of tracks) byLabel.set(label, (byLabel.get(label) ?? 0) + 1);
  const counts = [...byLabel].sort((a, b) => b[1] - a[1]);
  $("objects-detail").textContent = counts.map(([label, count]) => `${label} ${count}`).join(" · ");
  $("objects-detail").title = $("objects-detail").textContent;
}

function drawReport() {
  const away = cameras.list.filter((camera) => camera.state === "away").length;
  const down = cameras.reachable === false;
  $("health").dataset.state = down ? "down" : away ? "degraded" : "ok";
  $("health-text").textContent = down
    ? (cameras.denied ? "Token needed" : "Server not reachable")
    : away
      ? (cameras.list.length === 1 ? "Camera away" : `${away} of ${cameras.list.length} away`)
      : (cameras.list.length === 1 ? (cameras.list[0].up ? "Camera online" : "Waiting for publisher") : `${cameras.list.filter((camera) => camera.up).length} online`);
  const camera = cameras.current;
  if (camera) {
    const dropped = Object.values(camera.dropped).reduce((sum, count) => sum + count, 0);
    $("reconnects").textContent = String(camera.reconnects);
    $("drops").textContent = `${dropped.toLocaleString()} skipped of ${camera.received.toLocaleString()}`;
    const size = newest ? `${newest.width}×${newest.height}` : "";
    $("camera-facts").textContent = [size, camera.url].filter(Boolean).join(" · ");
  }
  drawState();
}

async function saveSnapshot() {
  const response = await fetch(`/api/cameras/${encodeURIComponent(cameras.chosen)}/snapshot.jpg`);
  if (!response.ok) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${cameras.chosen}-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}.jpg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  $("announce").textContent = "Snapshot saved";
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (stage.requestFullscreen) stage.requestFullscreen();
  else video.webkitEnterFullscreen?.(); // phones that allow only a video to fill the screen
}

function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

// Who draws the masks: the server, into the picture, or this page, onto it.
function drawHere(here) {
  player.masksAsData = maskCanvas.active = here;
  $("masks-here").setAttribute("aria-pressed", String(here));
  $("opacity").hidden = !here;
  player.restart();
}

const KEYS = { s: saveSnapshot, f: toggleFullscreen, t: toggleTheme, m: () => drawHere(!maskCanvas.active), ArrowLeft: () => cameras.step(-1), ArrowRight: () => cameras.step(1) };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog, input")) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
video.addEventListener("resize", () => {
  if (!video.videoWidth) return;
  stage.style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
  stage.style.setProperty("--ratio", String(video.videoWidth / video.videoHeight));
});
$("snapshot").addEventListener("click", saveSnapshot);
$("fullscreen").addEventListener("click", toggleFullscreen);
$("theme").addEventListener("click", toggleTheme);
$("masks-here").hidden = typeof VideoFrame === "undefined";
$("masks-here").addEventListener("click", () => drawHere(!maskCanvas.active));
$("opacity").addEventListener("input", ({ target }) => {
  maskCanvas.opacity = Number(target.value);
});

video.requestVideoFrameCallback(onPresented);
setInterval(drawState, 250);
setInterval(drawFigures, 500);
cameras.start();
