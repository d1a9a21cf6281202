// The page: all cameras, or one of them large with its figures and tracks. Joins the parts; each knows its own.

import { CameraDialog } from "./camera_dialog.js";
import { CameraTiles } from "./camera_tiles.js";
import { Cameras } from "./cameras.js";
import { Display } from "./display.js";
import { FigureTiles } from "./figure_tiles.js";
import { healthOf } from "./health.js";
import { Life } from "./life.js";
import { CAN_DRAW_HERE, LivePicture } from "./live_picture.js";
import { Painter } from "./painter.js";
import { CHIPS, Pace, judge } from "./picture_state.js";
import { SignIn } from "./sign_in.js";
import { saveSnapshot } from "./snapshot.js";
import { StageChart } from "./stage_chart.js";
import { toggleTheme } from "./theme_switch.js";
import { TrackList, isSeen } from "./track_list.js";
import { TracksSocket } from "./tracks_socket.js";
import { Trails } from "./trails.js";
import { Zones } from "./zones.js";

const STALL_MS = 5000;
const DAMAGE_MS = 2000; // it is told for so long after the last damaged picture, or it would flicker
const GRID = "#/grid";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const video = $("video");

let newest = null; // the tracked frame received last
let newestAt = -Infinity; // when, on the page's clock
let damagedAt = -Infinity;
let everLive = false;
let playingSince = -Infinity;

const say = (text) => ($("announce").textContent = text);

const pace = new Pace();
const figures = new FigureTiles();
const trails = new Trails();
const zones = new Zones(() => drawMode());
const display = new Display($("display"), onDisplay);
const stages = new StageChart($("stages"));
const life = new Life($("life"), (id) => {
  painter.followed = trackList.followed = id;
  say(id === null ? "No object is followed" : `Following ${$("life").querySelector("[data-part=title]").textContent}`);
});
const trackList = new TrackList({
  ...{ list: $("tracks"), empty: $("tracks-empty"), count: $("tracks-count") },
  shows: (track) => display.shows(track),
  onFollow: (track) => follow(track),
});
const painter = new Painter($("masks"), {
  ...{ display, trails, zones },
  onPaint: (image, size, frame) => {
    shape(size.width, size.height);
    life.look(image, size, frame);
  },
});
const picture = new LivePicture(video, painter, {
  onMode: drawMode,
  onShown: () => figures.picture(performance.now()),
});

const socket = new TracksSocket({
  onFrame: (frame) => {
    // In a cluster: the camera is another machine's now, and what plays may be the picture of the one before.
    if (newest !== null && frame.epoch !== newest.epoch && picture.startedAt < newestAt) picture.restart();
    newest = frame;
    newestAt = performance.now();
    if (frame.flags.includes("damaged")) damagedAt = newestAt;
    pace.add(newestAt);
    const latencyMs = 1000 * (frame.published_at_s - frame.captured_at_s);
    figures.answer(latencyMs);
    stages.add(frame, latencyMs);
    display.meet(frame.tracks);
    trails.add(frame);
    trackList.update(frame);
    life.update(frame);
    if (!picture.drawnHere) life.look(video, frame, frame);
  },
  onReopen: () => picture.restart(),
});

const tiles = new CameraTiles($("cameras"), (name) => {
  if (tiles.grid) {
    cameras.chosen = name;
    showGrid(false);
  } else cameras.choose(name);
});
const cameras = new Cameras({ onChoose: watch, onReport: drawReport, onDenied: () => signIn.ask() });
const signIn = new SignIn($("sign-in"), () => cameras.refresh().then(() => watch(cameras.chosen)));
const dialog = new CameraDialog($("camera-dialog"), $("remove-dialog"), {
  onAdded: (name) => cameras.refresh().then(() => cameras.choose(name)),
  onRemoved: () => cameras.refresh(),
  say,
});

function watch(name) {
  newest = null;
  newestAt = damagedAt = -Infinity;
  everLive = false;
  for (const each of [figures, pace, trackList, trails, stages]) each.clear();
  life.leave();
  display.forget();
  $("camera-name").textContent = name ?? "–";
  $("camera-facts").textContent = "";
  $("camera-remove").hidden = name === null;
  address();
  if (tiles.grid || name === null) picture.stop();
  else {
    zones.follow(name);
    socket.follow(name);
    picture.follow(name);
  }
  tiles.draw(cameras);
  drawState();
}

// What is looked at is part of the address: it can be kept and sent.
function address() {
  const name = cameras.chosen;
  document.title = `${tiles.grid ? "All cameras" : name ?? "No camera"} · SyncVIS Online`;
  const hash = tiles.grid ? GRID : name === null ? "#" : `#${encodeURIComponent(name)}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function showGrid(grid) {
  if (grid === tiles.grid) return;
  tiles.grid = grid;
  document.body.dataset.view = grid ? "grid" : "large";
  $("grid").setAttribute("aria-pressed", String(grid));
  if (grid) {
    socket.leave();
    zones.follow(null);
    picture.stop();
    life.leave();
  } else if (cameras.chosen !== null) watch(cameras.chosen);
  address();
  tiles.draw(cameras);
  if (grid) tiles.focus(cameras.chosen);
  say(grid ? "All cameras" : `${cameras.chosen} large`);
}

function follow(track) {
  if (track === null || track.id === life.id) life.leave();
  else {
    life.follow(cameras.chosen, track, newest);
    if (painter.hidden) life.look(video, newest, newest);
    else life.look(painter.canvas, newest, painter.painted ?? newest);
  }
}

function onDisplay(name) {
  if (name === "server") picture.byServer = display.server;
  if (name === "minScore" || name === "labels-shown") trackList.refresh();
}

function drawMode() {
  stage.dataset.mode = picture.mode;
  $("notice").hidden = picture.reason === "";
  $("notice-text").textContent = picture.reason;
  $("try-again").hidden = picture.mode !== "pictures";
  display.limit({ drawnHere: picture.drawnHere, canDrawHere: CAN_DRAW_HERE, anyZones: zones.any });
}

function drawState() {
  if (tiles.grid) return;
  const now = performance.now();
  const [state, title, detail] = judge({
    ...{ now, cameras, newest, newestAt, everLive, staleMs: pace.staleMs, hidden: document.hidden },
    ...{ camera: cameras.current, shownAt: picture.shownAt, socketOpen: socket.open, retrying: picture.retrying },
  });
  if (state === "live") everLive = true;
  if (stage.dataset.state !== state) {
    stage.dataset.state = state;
    document.body.dataset.fresh = String(state !== "stale" && state !== "reconnecting");
    $("chip-text").textContent = CHIPS[state];
    say(state === "live" ? "The picture is live" : title);
  }
  if (state !== "live") {
    $("veil-title").textContent = title;
    $("veil-detail").textContent = detail;
  }
  $("snapshot").disabled = newest === null;
  picture.judge(now, { newestAt, latencyMs: figures.latencyMs });
  restartStalled(now);
}

// A connection that says it plays, while frames are published and none is shown, is of no use any more.
function restartStalled(now) {
  if (!picture.playing) {
    playingSince = now;
    return;
  }
  const limitMs = Math.max(STALL_MS, 2 * pace.staleMs);
  const stalled = now - Math.max(picture.shownAt, playingSince) > limitMs && now - newestAt < pace.staleMs;
  if (!stalled || document.hidden) return;
  playingSince = now;
  picture.restart();
}

function drawFigures() {
  if (tiles.grid) return;
  const wanted = (track) => isSeen(track) && display.shows(track);
  figures.draw(newest === null ? null : newest.tracks.filter(wanted));
  stages.draw();
  $("damaged").hidden = performance.now() - damagedAt > DAMAGE_MS;
  $("clock").hidden = newest === null;
  if (newest) $("clock").textContent = new Date(1000 * newest.captured_at_s).toLocaleTimeString();
}

function drawReport() {
  const [state, text] = healthOf(cameras);
  $("health").dataset.state = state;
  $("health-text").textContent = text;
  tiles.draw(cameras);
  const camera = cameras.current;
  if (camera) {
    figures.report(camera);
    const size = newest ? `${newest.width}×${newest.height}` : "";
    $("camera-facts").textContent = [size, camera.url].filter(Boolean).join(" · ");
  }
  drawState();
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (stage.requestFullscreen) stage.requestFullscreen();
  else video.webkitEnterFullscreen?.(); // phones that allow only a video to fill the screen
}

// The picture's: the stage takes it on.
function shape(width, height) {
  const aspect = `${width} / ${height}`;
  if (!width || stage.style.getPropertyValue("--aspect") === aspect) return;
  stage.style.setProperty("--aspect", aspect);
  stage.style.setProperty("--ratio", String(width / height));
}

async function snapshot() {
  const canvas = painter.hidden ? null : painter.canvas;
  if (cameras.chosen !== null && (await saveSnapshot(cameras.chosen, canvas, display))) say("Snapshot saved");
}

// Where on the picture, as shares of it: it keeps its shape, so there may be bars beside it.
function onStageClick({ clientX, clientY, target }) {
  if (target !== video && target !== $("masks")) return;
  const [wide, high] = newest ? [newest.width, newest.height] : [1, 1];
  const around = video.getBoundingClientRect();
  const scale = Math.min(around.width / wide, around.height / high);
  const x = (clientX - around.left - (around.width - wide * scale) / 2) / (wide * scale);
  const y = (clientY - around.top - (around.height - high * scale) / 2) / (high * scale);
  follow(painter.trackAt(x, y, newest));
}

const LARGE_KEYS = {
  ...{ s: snapshot, f: toggleFullscreen },
  ...{ m: () => display.toggle("masks"), b: () => display.toggle("boxes"), l: () => display.toggle("labels") },
  ...{ r: () => display.toggle("trails"), z: () => display.toggle("zones"), Escape: () => life.leave() },
  ...{ ArrowLeft: () => cameras.step(-1), ArrowRight: () => cameras.step(1) },
};
const KEYS = { t: toggleTheme, g: () => showGrid(!tiles.grid), "?": () => $("keys").showModal() };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog, input")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = KEYS[key] ?? (tiles.grid ? undefined : LARGE_KEYS[key]);
  if (!action) return;
  event.preventDefault();
  action();
});
video.addEventListener("resize", () => shape(video.videoWidth, video.videoHeight));
stage.addEventListener("click", onStageClick);
for (const [id, action] of Object.entries({
  ...{ snapshot, fullscreen: toggleFullscreen, theme: toggleTheme, grid: () => showGrid(!tiles.grid) },
  ...{ "try-again": () => picture.tryAgain(), "camera-add": () => dialog.add(), "keys-show": () => $("keys").showModal() },
  "camera-remove": () => dialog.remove(cameras.chosen),
})) $(id).addEventListener("click", action);

picture.byServer = display.server;
setInterval(drawState, 250);
setInterval(drawFigures, 500);
if (location.hash === GRID) showGrid(true);
cameras.refresh();
