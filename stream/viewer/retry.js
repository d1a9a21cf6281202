// Waits that grow from 0.5 s to 8 s, with jitter, so that many pages do not come back at the same moment.

export class Backoff {
  #attempt = 0;

  reset() {
    this.#attempt = 0;
  }

  // Milliseconds to wait before the next attempt.
  next() {
    const wait = Math.min(8000, 500 * 2 ** this.#attempt);
    this.#attempt += 1;
    return wait * (0.75 + 0.5 * Math.random());
  }
}
