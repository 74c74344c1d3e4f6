// MQTT over WebSocket on the HTTP server, at /mqtt, for the pages that this server itself has sent: browsers let any
// site open a WebSocket to any server, so the Origin header decides.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';

const PATH = '/mqtt';
/** The largest WebSocket frame from outside. Several MQTT packets may share one. */
const MAX_FRAME_BYTES = 64 * 1024;

/** Hands each accepted connection to `accept`. The result stops accepting; connections that are open stay so. */
export function acceptWebSockets(server: Server, accept: (stream: Duplex, request: IncomingMessage) => void) {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  });

  function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (request.url?.split('?')[0] !== PATH) {
      // Another listener's business, where there is one.
      if (server.listenerCount('upgrade') === 1) reject(socket, '404 Not Found');
    } else if (!isSameOrigin(request)) {
      reject(socket, '403 Forbidden');
    } else {
      sockets.handleUpgrade(request, socket, head, (webSocket) => accept(createWebSocketStream(webSocket), request));
    }
  }

  server.on('upgrade', upgrade);
  return () => void server.off('upgrade', upgrade);
}

/** Programs send no Origin; a browser always does, and the page's own server is the one that it calls here. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

function reject(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
