// The picture: a WHEP client that keeps one <video> playing and comes back by itself.

import { GlassReporter } from "./glass.js";
import { Backoff } from "./retry.js";

const DISCONNECTED_MS = 3000;
const STOP_MS = 3000;
const UNREACHABLE_MS = 5000; // an answered offer that has not connected by then finds no way for UDP
const UNREACHABLE_RETRY_MS = 30000;

// Link: <turn:host>; rel="ice-server"; username="..."; credential="..." (RFC 9725, section 4.6).
function iceServersOf(links) {
  const servers = [];
  for (const [, urls, rest] of links.matchAll(/<([^>]+)>((?:\s*;\s*[\w-]+="[^"]*")*)/g)) {
    const parameters = Object.fromEntries([...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
    if (parameters.rel !== "ice-server") continue;
    const { username, credential } = parameters;
    servers.push(username ? { urls, username, credential } : { urls });
  }
  return servers;
}

export class WhepPlayer {
  #video;
  #camera = null;
  #peer = null;
  #session = null;
  #retry = null;
  #backoff = new Backoff();
  #generation = 0;
  #onMasks;
  #onPlaying;
  #onUnreachable;
  #connecting = null;

  // Whether the server sends masks beside the picture instead of drawing them into it; counts from the next start.
  masksAsData = false;

  // Told when pictures are shown, it tells the server.
  glass = new GlassReporter();

  // state: "connecting" | "playing" | "retrying"
  state = "connecting";

  // onMasks(data): a message about one of the pictures (docs/masks.md). onPlaying(): the picture comes.
  // onUnreachable(): the server answers, but no picture gets through; tried again by itself, less often.
  constructor(video, { onMasks, onPlaying, onUnreachable }) {
    this.#video = video;
    this.#onMasks = onMasks;
    this.#onPlaying = onPlaying;
    this.#onUnreachable = onUnreachable;
    addEventListener("pagehide", () => this.stop());
  }

  play(camera) {
    this.stop();
    this.#camera = camera;
    this.#backoff.reset();
    this.state = "connecting";
    this.#connect();
  }

  restart() {
    if (this.#camera !== null) this.play(this.#camera);
  }

  stop() {
    this.#generation += 1;
    clearTimeout(this.#retry);
    clearTimeout(this.#connecting);
    const [peer, session] = [this.#peer, this.#session];
    this.#peer = this.#session = null;
    if (!session) {
      peer?.close();
      return;
    }
    // Said before it is done: a session whose peer has left is not there any more.
    fetch(session, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(STOP_MS) })
      .catch(() => {})
      .finally(() => peer?.close());
  }

  async #connect() {
    const generation = this.#generation;
    const peer = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.#peer = peer;
    const receiver = peer.addTransceiver("video", { direction: "recvonly" }).receiver;
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    if (this.masksAsData) {
      // A message that is late is of no use: its picture has been shown.
      const channel = peer.createDataChannel("masks", { ordered: false, maxPacketLifeTime: 300 });
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        if (generation === this.#generation) this.#onMasks(data);
      };
    }
    this.glass.open(peer);
    peer.ontrack = ({ track }) => this.#show(track);
    peer.onconnectionstatechange = () => this.#follow(peer, generation);
    try {
      // The offer goes out without this browser's own addresses: its checks reveal them, and only the answer says
      // which servers to ask for others.
      const offer = await peer.createOffer();
      const { answer, iceServers } = await this.#offer(offer.sdp, generation);
      if (generation !== this.#generation) return;
      if (iceServers.length) peer.setConfiguration({ ...peer.getConfiguration(), iceServers });
      await peer.setLocalDescription(offer);
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
      if (generation !== this.#generation || peer.connectionState === "connected") return;
      this.#connecting = setTimeout(() => this.#giveUp(), UNREACHABLE_MS);
    } catch (error) {
      if (generation === this.#generation) this.#again(error.retryAfterMs);
    }
  }

  async #offer(sdp, generation) {
    const query = this.masksAsData ? "?masks=data" : "";
    const response = await fetch(`/whep/${encodeURIComponent(this.#camera)}${query}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: sdp,
    });
    if (response.status !== 201) {
      const after = Number(response.headers.get("Retry-After"));
      throw Object.assign(new Error(`WHEP ${response.status}`), { retryAfterMs: after ? after * 1000 : undefined });
    }
    const session = response.headers.get("Location");
    if (generation === this.#generation) this.#session = session;
    else fetch(session, { method: "DELETE" }).catch(() => {});
    return { answer: await response.text(), iceServers: iceServersOf(response.headers.get("Link") ?? "") };
  }

  #show(track) {
    this.#video.srcObject = new MediaStream([track]);
    this.#video.play().catch(() => {
      // Autoplay may be refused until the person touches the page; a muted video normally is not.
      addEventListener("pointerdown", () => this.#video.play().catch(() => {}), { once: true });
    });
  }

  #follow(peer, generation) {
    if (generation !== this.#generation) return;
    clearTimeout(this.#retry);
    if (peer.connectionState === "connected") {
      clearTimeout(this.#connecting);
      this.state = "playing";
      this.#backoff.reset();
      this.#onPlaying();
    } else if (peer.connectionState === "failed" && this.state !== "playing") {
      this.#giveUp();
    } else if (peer.connectionState === "failed" || peer.connectionState === "closed") {
      this.#again();
    } else if (peer.connectionState === "disconnected") {
      this.#retry = setTimeout(() => this.#again(), DISCONNECTED_MS);
    }
  }

  #giveUp() {
    this.#again(UNREACHABLE_RETRY_MS);
    this.#onUnreachable();
  }

  #again(afterMs) {
    const wait = afterMs ?? this.#backoff.next();
    this.stop();
    this.state = "retrying";
    this.#retry = setTimeout(() => this.#connect(), wait);
  }
}
