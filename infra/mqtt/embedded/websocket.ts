// MQTT over WebSocket on the HTTP server, at /mqtt, for this server's own pages and for programs. Browsers let any site
// open a WebSocket to any server, so the Origin header is checked.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';

const PATH = '/mqtt';
/** The largest WebSocket frame from a client. Several MQTT packets may share one. */
const MAX_FRAME_BYTES = 64 * 1024;

/** Calls `accept` with each new connection. Returns a function that stops accepting; open connections stay open. */
export function acceptWebSockets(server: Server, accept: (stream: Duplex) => void): () => void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  });

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url?.split('?')[0] !== PATH) {
      // Another listener, if there is one, handles other paths.
      if (server.listenerCount('upgrade') === 1) reject(socket, '404 Not Found');
    } else if (!isSameOrigin(request)) {
      reject(socket, '403 Forbidden');
    } else {
      sockets.handleUpgrade(request, socket, head, (webSocket) => accept(createWebSocketStream(webSocket)));
    }
  }

  server.on('upgrade', upgrade);
  return () => void server.off('upgrade', upgrade);
}

/** Programs send no Origin, browsers always do. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

function reject(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
