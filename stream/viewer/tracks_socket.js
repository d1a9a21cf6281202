// The data: a WebSocket of tracked frames that comes back by itself.

import { Backoff } from "./retry.js";
import { hangUp, socketAddress } from "./sockets.js";

export class TracksSocket {
  #socket = null;
  #camera = null;
  #retry = null;
  #backoff = new Backoff();
  #onFrame;
  #onReopen;
  #wasLost = false;

  open = false;

  // onFrame(frame): each tracked frame. onReopen(): the server is back after it was lost.
  constructor({ onFrame, onReopen }) {
    this.#onFrame = onFrame;
    this.#onReopen = onReopen;
  }

  follow(camera) {
    this.#camera = camera;
    this.#wasLost = false;
    this.#backoff.reset();
    this.#connect();
  }

  leave() {
    clearTimeout(this.#retry);
    hangUp(this.#socket);
    this.#socket = null;
    this.open = false;
  }

  #connect() {
    clearTimeout(this.#retry);
    hangUp(this.#socket);
    const socket = new WebSocket(socketAddress(`/ws/cameras/${encodeURIComponent(this.#camera)}/tracks`));
    this.#socket = socket;
    this.open = false;
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.open = true;
      this.#backoff.reset();
      if (this.#wasLost) this.#onReopen();
      this.#wasLost = false;
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#onFrame(JSON.parse(data));
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.open = false;
      this.#wasLost = true;
      this.#retry = setTimeout(() => this.#connect(), this.#backoff.next());
    };
  }
}
