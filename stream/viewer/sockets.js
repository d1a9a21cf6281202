// What the page's WebSockets have in common.

// The address of a path of this server.
export function socketAddress(path) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

// Close a socket, quietly: browsers complain of one that is closed while it opens.
export function hangUp(socket) {
  if (!socket) return;
  socket.onmessage = socket.onclose = null;
  if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
  else socket.close();
}
