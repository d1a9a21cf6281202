// How the large picture comes: by WebRTC with masks as data, by WebRTC with the server's overlay, or, where WebRTC does
// not get through, by WebSocket. Decides which, and says why in words.

import { MaskMessages } from "./mask_messages.js";
import { PictureMatcher } from "./picture_matcher.js";
import { PictureSocket } from "./picture_socket.js";
import { WhepPlayer } from "./whep.js";

const MASKLESS_MS = 3000; // with pictures and answers, but no masks drawn, data is of no use
const SLOW_MS = 1000; // the server holds a picture for so long (docs/masks.md)
const BRISK_MS = 700; // from then on data is worth another try
const BRISK_FOR_MS = 20000;

export const CAN_DRAW_HERE = typeof VideoFrame !== "undefined";

export class LivePicture {
  #video;
  #painter;
  #matcher;
  #player;
  #pictures;
  #camera = null;
  #byServer = false; // somebody wants it
  #cannot = ""; // why masks as data do not work out, in words
  #noWay = false; // WebRTC did not get through when it was tried last
  #briskSince = null;
  #undrawnSince = -Infinity; // when an answer came after the last that was drawn
  #onMode;
  #onShown;

  shownAt = -Infinity; // when a picture was shown last
  drawnAt = -Infinity; // when one was with its masks
  startedAt = 0; // when the connection was begun, or was there

  // onMode(): mode or reason are others. onShown(): a picture was shown.
  constructor(video, painter, { onMode, onShown }) {
    this.#video = video;
    this.#painter = painter;
    this.#onMode = onMode;
    this.#onShown = onShown;
    this.#matcher = new PictureMatcher(video, painter);
    const messages = new MaskMessages((frame) => this.#matcher.add(frame));
    this.#player = new WhepPlayer(video, {
      onMasks: (data) => messages.take(data),
      onPlaying: () => this.#onPlaying(),
      onUnreachable: () => this.#onUnreachable(),
    });
    this.#pictures = new PictureSocket((image, frame) => this.#onSocketPicture(image, frame));
    video.requestVideoFrameCallback((now, picture) => this.#onVideoPicture(picture));
    painter.canvas.addEventListener("drawn", ({ detail }) => this.#onDrawn(detail));
  }

  get mode() {
    if (this.#pictures.active) return "pictures";
    return this.#player.masksAsData ? "data" : "overlay";
  }

  get drawnHere() {
    return this.#pictures.active ? !this.#byServer : this.#player.masksAsData;
  }

  get playing() {
    return this.#pictures.active || this.#player.state === "playing";
  }

  get retrying() {
    return this.#player.state === "retrying";
  }

  // What the person should know of it; empty where all is as it should be.
  get reason() {
    if (this.#pictures.active) {
      return "No way for WebRTC (UDP) to this server: pictures come by WebSocket, fewer a second.";
    }
    if (!CAN_DRAW_HERE && !this.#byServer) return "This browser cannot tie masks to pictures: the server draws them.";
    return this.#byServer ? "" : this.#cannot;
  }

  follow(camera) {
    this.#camera = camera;
    this.#cannot = "";
    this.shownAt = -Infinity;
    if (this.#noWay) this.#openPictures();
    this.#start();
  }

  stop() {
    this.#camera = null;
    this.#pictures.close();
    this.#player.stop();
    this.#painter.hide();
  }

  set byServer(byServer) {
    this.#byServer = byServer;
    this.#cannot = "";
    if (this.#camera === null) return;
    if (this.#pictures.active) this.#openPictures();
    this.#start();
  }

  restart() {
    if (this.#camera !== null) this.#start();
  }

  // Another try with WebRTC, now; the pictures go on until it plays.
  tryAgain() {
    if (this.#camera !== null) this.#player.restart();
  }

  // To be called often. `answers`: of this camera, when the newest one came (ms on the page's clock) and how long
  // they take.
  judge(now, { newestAt, latencyMs }) {
    if (this.#camera === null || this.#pictures.active || this.#byServer || !CAN_DRAW_HERE) return;
    if (this.#player.masksAsData) this.#judgeData(now, newestAt, latencyMs);
    else this.#judgeOverlay(now, latencyMs);
  }

  #judgeData(now, newestAt, latencyMs) {
    // While the model says nothing there is nothing to draw: from the next answer on there is.
    if (newestAt > this.drawnAt && this.#undrawnSince <= this.drawnAt) this.#undrawnSince = newestAt;
    const since = Math.max(this.drawnAt, this.startedAt, this.#undrawnSince);
    const answered = now - newestAt < MASKLESS_MS && now - this.shownAt < MASKLESS_MS;
    if (document.hidden || !this.playing || !answered || now - since < MASKLESS_MS) return;
    const slow = latencyMs !== null && latencyMs > SLOW_MS;
    this.#cannot = slow
      ? "The model answers later than pictures can wait: the server draws the masks."
      : "The masks do not come with their pictures: the server draws them.";
    this.#start();
  }

  // Not before it has been brisk for a time: each change is a new connection.
  #judgeOverlay(now, latencyMs) {
    const brisk = latencyMs !== null && latencyMs < BRISK_MS;
    this.#briskSince = brisk ? this.#briskSince ?? now : null;
    if (!brisk || now - this.#briskSince < BRISK_FOR_MS) return;
    this.#cannot = "";
    this.#start();
  }

  #start() {
    this.#briskSince = null;
    this.startedAt = performance.now();
    const asData = CAN_DRAW_HERE && !this.#byServer && this.#cannot === "";
    this.#player.masksAsData = asData;
    this.#matcher.active = asData && !this.#pictures.active;
    this.#player.play(this.#camera);
    this.#onMode();
  }

  #openPictures() {
    this.#matcher.active = false;
    this.#pictures.open(this.#camera, { masks: this.#byServer ? "overlay" : "data" });
    this.#onMode();
  }

  #onUnreachable() {
    this.#noWay = true;
    if (this.#camera !== null && !this.#pictures.active) this.#openPictures();
  }

  #onPlaying() {
    this.startedAt = performance.now();
    this.#noWay = false;
    if (!this.#pictures.active) return;
    this.#pictures.close();
    this.#matcher.active = this.#player.masksAsData;
    this.#onMode();
  }

  #onSocketPicture(image, frame) {
    const { width, height } = frame ?? image;
    this.#painter.paint(image, { width, height }, frame);
  }

  #onVideoPicture({ rtpTimestamp, expectedDisplayTime }) {
    this.#video.requestVideoFrameCallback((now, picture) => this.#onVideoPicture(picture));
    if (this.mode === "overlay") this.#player.glass.shown(rtpTimestamp, expectedDisplayTime);
    if (this.#painter.hidden) this.#shown();
  }

  #onDrawn(frame) {
    this.drawnAt = performance.now();
    // The canvas is on the screen with the page's next picture.
    if (this.mode === "data") {
      requestAnimationFrame((now) => this.#player.glass.shown(frame.rtp_timestamp, Math.max(now, this.drawnAt)));
    }
    this.#shown();
  }

  #shown() {
    this.shownAt = performance.now();
    this.#onShown();
  }
}
