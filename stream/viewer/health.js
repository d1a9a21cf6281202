// All cameras in a few words.

export function healthOf({ reachable, denied, list }) {
  if (reachable === null) return ["connecting", "Connecting"];
  if (!reachable) return ["down", denied ? "Token needed" : "Server not reachable"];
  const away = list.filter((camera) => camera.state === "away").length;
  if (!list.length) return ["ok", "No camera"];
  if (list.length === 1) return away ? ["degraded", "Camera away"] : ["ok", list[0].up ? "Camera online" : "Waiting for publisher"];
  if (away) return ["degraded", `${away} of ${list.length} away`];
  return ["ok", `${list.filter((camera) => camera.up).length} online`];
}
