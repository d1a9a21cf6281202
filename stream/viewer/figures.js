// Rates and latencies over the last seconds, and their small curves.

export class SlidingWindow {
  #samples = [];
  #seconds;

  constructor(seconds) {
    this.#seconds = seconds;
  }

  add(value, now = performance.now()) {
    this.#samples.push([now, value]);
    this.#trim(now);
  }

  clear() {
    this.#samples = [];
  }

  #trim(now) {
    const oldest = now - this.#seconds * 1000;
    let stale = 0;
    while (stale < this.#samples.length && this.#samples[stale][0] < oldest) stale += 1;
    if (stale) this.#samples.splice(0, stale);
  }

  // Samples per second, or null where there are too few to say.
  rate(now = performance.now()) {
    this.#trim(now);
    if (this.#samples.length < 2) return null;
    const span = Math.max(now - this.#samples[0][0], 1);
    return (1000 * (this.#samples.length - 1)) / span;
  }

  // The value that the share q (0 to 1) of the samples does not exceed, or null where there is none.
  quantile(q, now = performance.now()) {
    this.#trim(now);
    if (!this.#samples.length) return null;
    const sorted = this.#samples.map(([, value]) => value).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  }
}

export class Sparkline {
  #values = [];
  #line;
  #area;
  #length;

  constructor(svg, length = 60) {
    this.#line = svg.querySelector(".line");
    this.#area = svg.querySelector(".area");
    this.#length = length;
  }

  clear() {
    this.#values = [];
    this.#draw();
  }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > this.#length) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const known = this.#values.filter((value) => value !== null);
    if (known.length < 2) {
      this.#line.setAttribute("d", "");
      this.#area.setAttribute("d", "");
      return;
    }
    // From zero, so that a calm value looks calm.
    const top = Math.max(...known) * 1.25 || 1;
    const step = 100 / (this.#length - 1);
    const first = this.#length - this.#values.length;
    const points = this.#values.map((value, i) => `${((first + i) * step).toFixed(2)},${(27 - (25 * (value ?? 0)) / top).toFixed(2)}`);
    this.#line.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M${(first * step).toFixed(2)},28L${points.join("L")}L100,28Z`);
  }
}
