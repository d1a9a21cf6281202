// Where each object has been of late.

const SECONDS = 4;
const MOST_POINTS = 200;

export class Trails {
  #trails = new Map(); // id -> { color, points: [{ at_s, x, y }], oldest first }
  #newest_s = -Infinity;

  clear() {
    this.#trails.clear();
    this.#newest_s = -Infinity;
  }

  // The middles of a frame's boxes; frames may come twice, or late.
  add(frame) {
    if (frame.captured_at_s <= this.#newest_s) return;
    this.#newest_s = frame.captured_at_s;
    if (frame.flags.includes("resize") || frame.flags.includes("cut")) this.#trails.clear();
    for (const { id, color, state, box: [x0, y0, x1, y1] } of frame.tracks) {
      if (state !== "confirmed") continue;
      const trail = this.#trails.get(id) ?? { color, points: [] };
      trail.points.push({ at_s: frame.captured_at_s, x: (x0 + x1) / 2, y: (y0 + y1) / 2 });
      this.#trails.set(id, trail);
    }
    for (const [id, { points }] of this.#trails) {
      while (points.length && (this.#newest_s - points[0].at_s > SECONDS || points.length > MOST_POINTS)) points.shift();
      if (!points.length) this.#trails.delete(id);
    }
  }

  // Those of the tracks that are shown, fading towards the past.
  draw(context, ids, scale) {
    context.lineWidth = 2.5 * scale;
    context.lineCap = context.lineJoin = "round";
    for (const id of ids) {
      const { color, points } = this.#trails.get(id) ?? { points: [] };
      context.strokeStyle = color;
      for (let i = 1; i < points.length; i += 1) {
        context.globalAlpha = Math.max(0.08, 1 - (this.#newest_s - points[i].at_s) / SECONDS);
        context.beginPath();
        context.moveTo(points[i - 1].x, points[i - 1].y);
        context.lineTo(points[i].x, points[i].y);
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }
}
