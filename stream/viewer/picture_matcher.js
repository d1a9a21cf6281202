// Masks and the picture that each was made of, brought together: both carry the same RTP timestamp (docs/masks.md).

const MOST_PICTURES = 4; // held until their masks are here; decoders have few to lend
const MOST_MESSAGES = 64;
const LEAST_HOLD_MS = 500; // for so long, or three answers, the newest picture with masks stays; then the video is shown
const MOST_HOLD_MS = 1500;

export class PictureMatcher {
  #video;
  #painter;
  #pictures = []; // oldest first: { rtp, image }
  #frames = new Map(); // RTP timestamp -> frame
  #active = false;
  #drawnAt = -Infinity;
  #betweenMs = 0; // two answers, smoothed

  constructor(video, painter) {
    this.#video = video;
    this.#painter = painter;
    this.#video.requestVideoFrameCallback((now, picture) => this.#onPicture(now, picture));
  }

  // From now on match, or do not; either way what was there before is forgotten.
  set active(active) {
    this.#active = active;
    this.clear();
  }

  clear() {
    for (const { image } of this.#pictures.splice(0)) image.close();
    this.#frames.clear();
    this.#drawnAt = -Infinity;
    this.#painter.hide();
  }

  // The masks of one picture, which may be here already or still to come.
  add(frame) {
    if (!this.#active || frame.rtp_timestamp === undefined) return;
    this.#frames.set(frame.rtp_timestamp, frame);
    if (this.#frames.size > MOST_MESSAGES) this.#frames.delete(this.#frames.keys().next().value);
    this.#match();
  }

  #onPicture(now, { rtpTimestamp }) {
    this.#video.requestVideoFrameCallback((later, picture) => this.#onPicture(later, picture));
    if (!this.#active || this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    // The video may have gone on since: what is held says itself which picture it is, where the browser can.
    const image = new VideoFrame(this.#video);
    const rtp = image.metadata?.().rtpTimestamp ?? rtpTimestamp;
    this.#pictures.push({ rtp, image });
    while (this.#pictures.length > MOST_PICTURES) this.#pictures.shift().image.close();
    this.#match();
    const holdMs = Math.min(MOST_HOLD_MS, Math.max(LEAST_HOLD_MS, 3 * this.#betweenMs));
    if (performance.now() - this.#drawnAt > holdMs) this.#painter.hide();
  }

  // Draw the newest picture whose masks are known; those before it are not needed any more.
  #match() {
    for (let i = this.#pictures.length - 1; i >= 0; i -= 1) {
      const frame = this.#frames.get(this.#pictures[i].rtp);
      if (frame === undefined) continue;
      const { image } = this.#pictures[i];
      this.#painter.paint(image, { width: image.displayWidth, height: image.displayHeight }, frame);
      this.#drawn();
      for (const picture of this.#pictures.splice(0, i + 1)) picture.image.close();
      for (const rtp of this.#frames.keys()) {
        this.#frames.delete(rtp);
        if (rtp === frame.rtp_timestamp) break;
      }
      return;
    }
  }

  #drawn() {
    const now = performance.now();
    const between = Math.min(now - this.#drawnAt, MOST_HOLD_MS);
    this.#betweenMs += 0.2 * (between - this.#betweenMs);
    this.#drawnAt = now;
  }
}
