// The zones and lines of the camera that is watched, with their counts.

const POLL_MS = 1500;
const NONE = { zones: [], lines: [] };

export class Zones {
  #camera = null;
  #poll = null;
  #found = NONE;
  #onChange;

  // onChange(): there are others, or other counts.
  constructor(onChange) {
    this.#onChange = onChange;
  }

  get any() {
    return this.#found.zones.length + this.#found.lines.length > 0;
  }

  follow(camera) {
    this.#camera = camera;
    this.#found = NONE;
    clearTimeout(this.#poll);
    if (camera !== null) this.#ask(camera);
  }

  async #ask(camera) {
    let found = NONE;
    try {
      const response = document.hidden ? null : await fetch(`/api/cameras/${encodeURIComponent(camera)}/zones`);
      if (response === null) found = this.#found;
      else if (response.ok) found = { ...NONE, ...(await response.json()) };
      else if (response.status === 404) return; // this server knows none
    } catch {
      found = this.#found; // the server is away: they stay where they are
    }
    if (camera !== this.#camera) return;
    this.#found = found;
    this.#onChange();
    this.#poll = setTimeout(() => this.#ask(camera), POLL_MS);
  }

  // On a picture of this size, in the context's pixels.
  draw(context, width, height, scale) {
    const at = ([x, y]) => [x * width, y * height];
    for (const { name, polygon, count } of this.#found.zones) drawZone(context, name, polygon.map(at), count, scale);
    for (const { name, points, crossed } of this.#found.lines) drawLine(context, name, points.map(at), crossed, scale);
  }
}

function trace(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
}

function drawZone(context, name, points, count, scale) {
  trace(context, points);
  context.closePath();
  context.fillStyle = count ? "rgb(255 214 102 / 16%)" : "rgb(255 255 255 / 7%)";
  context.fill();
  outline(context, scale, [6 * scale, 4 * scale]);
  // The corner that is nearest to the upper left: there a tag hides the least of what stands inside.
  const corner = points.reduce((best, point) => (point[0] + 2 * point[1] < best[0] + 2 * best[1] ? point : best));
  tag(context, `${name}  ${count}`, corner, scale);
}

// Forward crosses from the left of the line to its right, as seen from its first point.
function drawLine(context, name, [[x0, y0], [x1, y1]], crossed, scale) {
  trace(context, [[x0, y0], [x1, y1]]);
  outline(context, scale, []);
  arrow(context, (x0 + x1) / 2, (y0 + y1) / 2, Math.atan2(y1 - y0, x1 - x0) + Math.PI / 2, scale);
  tag(context, `${name}  +${crossed.forward} −${crossed.backward}`, [x1, y1], scale);
}

// Which way is forward.
function arrow(context, x, y, angle, scale) {
  context.save();
  context.translate(x, y);
  context.rotate(angle);
  context.scale(scale, scale);
  context.beginPath();
  context.moveTo(3, -6);
  context.lineTo(14, 0);
  context.lineTo(3, 6);
  context.closePath();
  context.fillStyle = "#ffd666";
  context.fill();
  context.restore();
}

function outline(context, scale, dash) {
  context.setLineDash([]);
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.lineWidth = 3.5 * scale;
  context.stroke();
  context.setLineDash(dash);
  context.strokeStyle = "#ffd666";
  context.lineWidth = 1.8 * scale;
  context.stroke();
  context.setLineDash([]);
}

// A dark tag at a point, inside the picture.
function tag(context, text, [x, y], scale) {
  context.font = `600 ${11.5 * scale}px system-ui, sans-serif`;
  const [wide, high] = [context.measureText(text).width + 12 * scale, 18 * scale];
  const finer = context.getTransform().a;
  const left = Math.max(0, Math.min(x, context.canvas.width / finer - wide));
  const top = Math.max(0, Math.min(y, context.canvas.height / finer - high));
  context.fillStyle = "rgb(8 10 16 / 82%)";
  context.beginPath();
  context.roundRect(left, top, wide, high, 4 * scale);
  context.fill();
  context.fillStyle = "#ffd666";
  context.fillText(text, left + 6 * scale, top + 13 * scale);
}
