// Masks: COCO's compressed run lengths, and their pixels on a canvas.

const CONTOUR = 2; // pixels

// Five bits a sign, the sixth says that more follow; from the third on, a length is a difference to the one before the
// last.
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

// Whether a mask has the pixel at (x, y).
export function covers(mask, x, y) {
  let found = false;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  eachRun(mask, (at, first, end) => {
    found ||= at === column && first <= row && row < end;
  });
  return found;
}

export const rgbOf = (color) => Number.parseInt(color.slice(1), 16);

// Tint and contour of a mask; `layer` is a canvas to work on.
export function drawMask(context, layer, { mask, color }, { opacity, contour = CONTOUR }) {
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
  const rgb = rgbOf(color);
  const tone = ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
  const tint = ((Math.round(255 * opacity) << 24) | tone) >>> 0;
  const edge = ((0xff << 24) | tone) >>> 0;
  const has = (x, y) => x >= 0 && x < wide && y >= 0 && y < high && inside[y * wide + x];
  for (let y = 0, i = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1, i += 1) {
      if (!inside[i]) continue;
      const within = has(x - contour, y) && has(x + contour, y) && has(x, y - contour) && has(x, y + contour);
      paint[i] = within ? tint : edge;
    }
  }
  Object.assign(layer, { width: wide, height: high });
  layer.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(layer, left, top);
}
