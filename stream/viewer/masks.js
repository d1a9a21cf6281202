// Masks drawn here, each on the picture that it was made of: the message and the picture carry the same RTP timestamp
// (docs/masks.md).

const MOST_PICTURES = 4; // held until their masks are here; decoders have few to lend
const MOST_MESSAGES = 64;
const HOLD_MS = 500; // for so long the newest picture with masks stays; then the video is shown as it comes
const CONTOUR = 2; // pixels
const CHUNK_HEADER = 8;

// Messages: a text is whole; longer ones come in chunks: RTP timestamp (4 bytes), index (2), count (2), UTF-8 bytes.
export class MaskMessages {
  #onFrame;
  #partial = new Map();

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  take(data) {
    const text = typeof data === "string" ? data : this.#joined(data);
    if (text !== null) this.#onFrame(JSON.parse(text));
  }

  #joined(buffer) {
    const view = new DataView(buffer);
    const [key, index, count] = [view.getUint32(0), view.getUint16(4), view.getUint16(6)];
    const chunks = this.#partial.get(key) ?? new Map();
    this.#partial.set(key, chunks);
    chunks.set(index, new Uint8Array(buffer, CHUNK_HEADER));
    if (this.#partial.size > 8) this.#partial.delete(this.#partial.keys().next().value);
    if (chunks.size < count) return null;
    this.#partial.delete(key);
    const decoder = new TextDecoder();
    const parts = Array.from({ length: count }, (_, i) => decoder.decode(chunks.get(i), { stream: true }));
    return parts.join("") + decoder.decode();
  }
}

export class MaskCanvas {
  #video;
  #canvas;
  #context;
  #layer = document.createElement("canvas");
  #pictures = []; // oldest first: { rtp, image }
  #frames = new Map(); // RTP timestamp -> frame
  #drawnAt = -Infinity;
  #active = false;

  opacity = 0.45;

  constructor(video, canvas) {
    this.#video = video;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#video.requestVideoFrameCallback((now, picture) => this.#onPicture(now, picture));
  }

  get active() {
    return this.#active;
  }

  // From now on draw, or do not; either way what was there before is forgotten.
  set active(active) {
    this.#active = active;
    this.clear();
  }

  clear() {
    for (const { image } of this.#pictures.splice(0)) image.close();
    this.#frames.clear();
    this.#drawnAt = -Infinity;
    this.#canvas.hidden = true;
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
    if (performance.now() - this.#drawnAt > HOLD_MS) this.#canvas.hidden = true;
  }

  // Draw the newest picture whose masks are known; those before it are not needed any more.
  #match() {
    for (let i = this.#pictures.length - 1; i >= 0; i -= 1) {
      const frame = this.#frames.get(this.#pictures[i].rtp);
      if (frame === undefined) continue;
      this.#draw(this.#pictures[i].image, frame);
      for (const { image } of this.#pictures.splice(0, i + 1)) image.close();
      for (const rtp of this.#frames.keys()) {
        this.#frames.delete(rtp);
        if (rtp === frame.rtp_timestamp) break;
      }
      return;
    }
  }

  // Picture and masks in one go: two layers of a page could be shown at different moments.
  #draw(image, frame) {
    const [width, height] = [image.displayWidth, image.displayHeight];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
    }
    this.#context.drawImage(image, 0, 0, width, height);
    const tracks = frame.tracks.filter((track) => track.state === "confirmed");
    tracks.sort((one, other) => area(other.box) - area(one.box)); // small ones stay visible
    for (const track of tracks) drawMask(this.#context, this.#layer, track, this.opacity);
    for (const track of tracks) drawTag(this.#context, track, Math.max(1, height / 540));
    this.#canvas.hidden = false;
    this.#drawnAt = performance.now();
    this.#canvas.dispatchEvent(new CustomEvent("drawn", { detail: frame }));
  }
}

const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

// COCO's compressed run lengths: five bits a sign, the sixth says that more follow; from the third on, a length is a
// difference to the one before the last.
export function runLengths(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let [value, shift, bits] = [0, 0, 0];
    do {
      bits = counts.charCodeAt(at) - 48;
      value |= (bits & 0x1f) << shift;
      shift += 5;
      at += 1;
    } while (bits & 0x20);
    if (bits & 0x10) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// The pixels of a mask, column by column, as calls of paint(column, first row, end row).
function eachRun({ size: [height], counts }, paint) {
  let at = 0;
  runLengths(counts).forEach((length, i) => {
    for (let from = at; i % 2 && from < at + length; ) {
      const [column, row] = [Math.floor(from / height), from % height];
      const end = Math.min(height, row + at + length - from);
      paint(column, row, end);
      from += end - row;
    }
    at += length;
  });
}

function drawMask(context, layer, { mask, color }, opacity) {
  const height = mask.size[0];
  let [left, top, right, bottom] = [Infinity, height, -1, 0];
  eachRun(mask, (column, row, end) => {
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
    top = Math.min(top, row);
    bottom = Math.max(bottom, end);
  });
  if (right < 0) return;
  const [wide, high] = [right - left, bottom - top];
  const inside = new Uint8Array(wide * high);
  eachRun(mask, (column, row, end) => {
    for (let y = row - top; y < end - top; y += 1) inside[y * wide + column - left] = 1;
  });
  const pixels = new ImageData(wide, high);
  const paint = new Uint32Array(pixels.data.buffer); // little-endian: alpha, blue, green, red
  const rgb = Number.parseInt(color.slice(1), 16);
  const tone = ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
  const tint = ((Math.round(255 * opacity) << 24) | tone) >>> 0;
  const contour = ((0xff << 24) | tone) >>> 0;
  const has = (x, y) => x >= 0 && x < wide && y >= 0 && y < high && inside[y * wide + x];
  for (let y = 0, i = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1, i += 1) {
      if (!inside[i]) continue;
      const within = has(x - CONTOUR, y) && has(x + CONTOUR, y) && has(x, y - CONTOUR) && has(x, y + CONTOUR);
      paint[i] = within ? tint : contour;
    }
  }
  Object.assign(layer, { width: wide, height: high });
  layer.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(layer, left, top);
}

function drawTag(context, { id, label, score, box: [x0, y0], color }, scale) {
  const text = `${id} ${label} ${Math.round(100 * score)}%`;
  const high = 16 * scale;
  context.font = `600 ${11 * scale}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + 8 * scale;
  const left = Math.max(0, Math.min(x0, context.canvas.width - wide));
  const top = y0 >= high ? y0 - high : Math.max(0, Math.min(y0, context.canvas.height - high));
  context.fillStyle = color;
  context.fillRect(left, top, wide, high);
  const rgb = Number.parseInt(color.slice(1), 16);
  const luma = 0.299 * (rgb >> 16) + 0.587 * ((rgb >> 8) & 0xff) + 0.114 * (rgb & 0xff);
  context.fillStyle = luma > 120 ? "#12141a" : "#fff";
  context.fillText(text, left + 4 * scale, top + high - 4.5 * scale);
}
