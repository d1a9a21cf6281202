// Pictures by WebSocket, where WebRTC is too much or does not get through: JPEG, newest only (docs/pictures.md).

import { Backoff } from "./retry.js";
import { hangUp, socketAddress } from "./sockets.js";

export class PictureSocket {
  #socket = null;
  #retry = null;
  #backoff = new Backoff();
  #onPicture;
  #frame = null; // what the next picture shows, where that is said

  // onPicture(image, frame): an ImageBitmap, closed after the call, and the tracked frame that it is of (null: drawn
  // into the picture).
  constructor(onPicture) {
    this.#onPicture = onPicture;
  }

  get active() {
    return this.#socket !== null;
  }

  open(camera, { size = "full", masks = "overlay" } = {}) {
    this.close();
    const path = `/api/cameras/${encodeURIComponent(camera)}/pictures`;
    this.#connect(socketAddress(`${path}?size=${size}&masks=${masks}`));
  }

  close() {
    clearTimeout(this.#retry);
    hangUp(this.#socket);
    this.#socket = null;
    this.#backoff.reset();
  }

  #connect(url) {
    const socket = new WebSocket(url);
    socket.binaryType = "blob";
    this.#socket = socket;
    this.#frame = null;
    socket.onmessage = ({ data }) => this.#take(socket, data);
    socket.onclose = () => {
      if (socket === this.#socket) this.#retry = setTimeout(() => this.#connect(url), this.#backoff.next());
    };
  }

  async #take(socket, data) {
    if (typeof data === "string") {
      this.#frame = JSON.parse(data);
      return;
    }
    const frame = this.#frame;
    const image = await createImageBitmap(data);
    if (socket === this.#socket) {
      this.#backoff.reset();
      this.#onPicture(image, frame);
    }
    image.close();
  }
}
