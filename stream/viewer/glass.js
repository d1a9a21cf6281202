// When pictures were shown, told to the server on a data channel of its own; the server asks there what time it is here
// (docs/latency.md).

const LABEL = "syncvis-glass";
const PERIOD_MS = 1000;
const MOST = 60; // pictures a message

export class GlassReporter {
  #channel = null;
  #timer = null;
  #shown = [];

  // For a connection that has not made its offer yet.
  open(peer) {
    clearInterval(this.#timer);
    this.#shown = [];
    const channel = peer.createDataChannel(LABEL, { ordered: false, maxRetransmits: 0 });
    this.#channel = channel;
    channel.onopen = () => {
      if (channel !== this.#channel) return;
      this.#report(channel);
      this.#timer = setInterval(() => this.#report(channel), PERIOD_MS);
    };
    channel.onmessage = ({ data }) => {
      const came = performance.now();
      const { ping } = JSON.parse(data);
      channel.send(JSON.stringify({ pong: ping, came, answered: performance.now() }));
    };
  }

  // The picture with this RTP timestamp is on the screen at this time of the page's clock, ms.
  shown(rtp, atMs) {
    if (rtp === undefined || this.#channel?.readyState !== "open") return;
    this.#shown.push([rtp, Math.round(1000 * atMs) / 1000]);
    if (this.#shown.length > MOST) this.#shown.shift();
  }

  #report(channel) {
    if (channel.readyState !== "open" || channel !== this.#channel) {
      if (channel === this.#channel) clearInterval(this.#timer);
      return;
    }
    channel.send(JSON.stringify({ shown: this.#shown.splice(0) }));
  }
}
