// The newest picture of a camera as a file, with its overlay where masks or labels are wanted.

export async function saveSnapshot(camera, { masks, labels }) {
  const response = await fetch(`/api/cameras/${encodeURIComponent(camera)}/snapshot.jpg?overlay=${masks || labels}`);
  if (!response.ok) return false;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${camera}-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}.jpg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return true;
}
