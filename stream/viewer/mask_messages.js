// What a viewer's data channel says, put together (docs/masks.md).

const CHUNK_HEADER = 8;
const MOST_PARTIAL = 8;

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
    if (this.#partial.size > MOST_PARTIAL) this.#partial.delete(this.#partial.keys().next().value);
    if (chunks.size < count) return null;
    this.#partial.delete(key);
    const decoder = new TextDecoder();
    const parts = Array.from({ length: count }, (_, i) => decoder.decode(chunks.get(i), { stream: true }));
    return parts.join("") + decoder.decode();
  }
}
