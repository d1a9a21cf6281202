// The picture as it is seen, as a file: the canvas with what is drawn on it here, or where the server draws, its newest
// picture, with its overlay where masks or labels are wanted.

const QUALITY = 0.92;

export async function saveSnapshot(camera, canvas, { masks, labels }) {
  const image = canvas === null ? await serversPicture(camera, masks || labels) : await jpegOf(canvas);
  if (image === null) return false;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(image);
  link.download = `${camera}-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}.jpg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return true;
}

function jpegOf(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

async function serversPicture(camera, overlay) {
  const response = await fetch(`/api/cameras/${encodeURIComponent(camera)}/snapshot.jpg?overlay=${overlay}`);
  return response.ok ? response.blob() : null;
}
