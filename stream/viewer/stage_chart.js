// Where a frame's time goes, drawn as it happens: the stages of its way, one on the other, over the last half minute.

import { SlidingWindow } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 60;
const SECONDS = 5;

const STAGES = [
  ["receive", "Camera to reader"],
  ["queue", "Wait for its turn"],
  ["schedule", "Wait for the model"],
  ["preprocess", "Prepare"],
  ["encode", "Backbone"],
  ["handover", "Wait for the decoder"],
  ["decode", "Decoder"],
  ["track", "Identities"],
  ["masks", "Masks"],
  ["blur", "Blur"],
  ["other", "Hand out"],
];

export class StageChart {
  #rows;
  #total;
  #history = []; // of { stage: ms }, oldest first
  #stages = Object.fromEntries(STAGES.map(([name]) => [name, new SlidingWindow(SECONDS)]));
  #totals = new SlidingWindow(SECONDS);
  #root;

  constructor(root) {
    this.#root = root;
    const [svg, list] = [root.querySelector("svg"), root.querySelector("ul")];
    this.#total = root.querySelector("[data-part=total]");
    this.#rows = STAGES.map(([name, words]) => newStage(svg, list, name, words));
  }

  clear() {
    this.#history = [];
    this.#totals.clear();
    for (const stage of Object.values(this.#stages)) stage.clear();
    this.#root.hidden = true;
  }

  // A tracked frame; servers of another version may not say where its time went.
  add(frame, latencyMs) {
    if (!frame.stages_ms) return;
    const known = Object.entries(frame.stages_ms).filter(([name]) => name in this.#stages && name !== "other");
    for (const [name, ms] of known) this.#stages[name].add(ms);
    this.#stages.other.add(Math.max(0, latencyMs - known.reduce((sum, [, ms]) => sum + ms, 0)));
    this.#totals.add(latencyMs);
  }

  draw() {
    const total = this.#totals.quantile(0.5);
    if (total === null) return;
    this.#root.hidden = false;
    this.#total.textContent = `${Math.round(total)} ms`;
    const now = Object.fromEntries(STAGES.map(([name]) => [name, this.#stages[name].quantile(0.5) ?? 0]));
    this.#history.push(now);
    if (this.#history.length > POINTS) this.#history.shift();
    const sums = this.#history.map((point) => STAGES.reduce((sum, [name]) => sum + point[name], 0));
    const top = Math.max(...sums) * 1.1 || 1;
    const below = this.#history.map(() => 0);
    for (const { name, path, figure, item } of this.#rows) {
      const above = below.map((value, i) => value + this.#history[i][name]);
      path.setAttribute("d", band(below, above, top));
      above.forEach((value, i) => (below[i] = value));
      figure.textContent = now[name] < 9.95 ? now[name].toFixed(1) : String(Math.round(now[name]));
      item.hidden = this.#history.every((point) => point[name] === 0);
    }
  }
}

function band(below, above, top) {
  const first = POINTS - above.length;
  const at = (value, i) => `${(((first + i) * 100) / (POINTS - 1)).toFixed(2)},${(100 - (100 * value) / top).toFixed(2)}`;
  const over = above.map(at);
  const under = below.map(at).reverse();
  return `M${[...over, ...under].join("L")}Z`;
}

function newStage(svg, list, name, words) {
  const path = document.createElementNS(SVG, "path");
  path.dataset.stage = name;
  svg.append(path);
  const item = document.createElement("li");
  const figure = document.createElement("b");
  const swatch = document.createElement("i");
  swatch.dataset.stage = name;
  swatch.setAttribute("aria-hidden", "true");
  const unit = document.createElement("small");
  unit.textContent = "ms";
  item.append(swatch, words, figure, unit);
  list.append(item);
  return { name, path, figure, item };
}
