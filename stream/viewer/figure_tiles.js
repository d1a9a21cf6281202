// The large camera's figures: frame rate, latency, objects, reconnects.

import { SlidingWindow, Sparkline } from "./figures.js";

const WINDOW_S = 5;

const $ = (id) => document.getElementById(id);

export class FigureTiles {
  #shown = new SlidingWindow(WINDOW_S);
  #latencies = new SlidingWindow(WINDOW_S);
  #fpsCurve = new Sparkline($("fps-spark"));
  #latencyCurve = new Sparkline($("latency-spark"));

  clear() {
    for (const each of [this.#shown, this.#latencies, this.#fpsCurve, this.#latencyCurve]) each.clear();
  }

  // A picture was shown.
  picture(now) {
    this.#shown.add(1, now);
  }

  // An answer came, so many ms after its picture was taken.
  answer(latencyMs) {
    this.#latencies.add(latencyMs);
  }

  // Median over the last seconds, ms; null where nothing came.
  get latencyMs() {
    return this.#latencies.quantile(0.5);
  }

  draw(tracks) {
    const now = performance.now();
    const fps = this.#shown.rate(now);
    const [p50, p95] = [this.#latencies.quantile(0.5, now), this.#latencies.quantile(0.95, now)];
    $("fps").textContent = fps === null ? "–" : fps.toFixed(fps < 9.95 ? 1 : 0);
    const inSeconds = p95 !== null && p95 >= 1999.5;
    const show = (ms) => (ms === null ? "–" : inSeconds ? (ms / 1000).toFixed(1) : String(Math.round(ms)));
    $("latency").textContent = show(p50);
    $("latency-p95").textContent = show(p95);
    for (const unit of document.querySelectorAll(".latency-unit")) unit.textContent = inSeconds ? "s" : "ms";
    this.#fpsCurve.add(fps);
    this.#latencyCurve.add(p50);
    drawObjects(tracks);
  }

  report(camera) {
    const dropped = Object.values(camera.dropped).reduce((sum, count) => sum + count, 0);
    $("reconnects").textContent = String(camera.reconnects);
    $("drops").textContent = `${dropped.toLocaleString()} skipped of ${camera.received.toLocaleString()}`;
    const glass = camera.glass_ms;
    $("glass").hidden = !glass;
    if (glass) $("glass-figure").textContent = `${Math.round(glass.p50)} ms (p95 ${Math.round(glass.p95)} ms)`;
  }
}

// `tracks`: those in view, null where nothing is known.
function drawObjects(tracks) {
  $("objects").textContent = tracks === null ? "–" : String(tracks.length);
  const byLabel = new Map();
  for (const { label } of tracks ?? []) byLabel.set(label, (byLabel.get(label) ?? 0) + 1);
  const counts = [...byLabel].sort((a, b) => b[1] - a[1]);
  $("objects-detail").textContent = counts.map(([label, count]) => `${label} ${count}`).join(" · ");
  $("objects-detail").title = $("objects-detail").textContent;
}
