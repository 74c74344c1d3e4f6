// Limits on the handshakes of a TLS server. Node.js does not list their connections, so a stop would wait for them, and
// leaves those that take too long open.
import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';

/** How long a client may take for a handshake, with a slow network. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A connection before and after its handshake are two sockets, which have this in common. */
const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

export class Handshakes {
  readonly #underWay = new Map<string, Socket>();

  /** `server` was created with HANDSHAKE_TIMEOUT_MS. */
  constructor(server: Server) {
    server.on('connection', (socket) => {
      const peer = peerOf(socket);
      this.#underWay.set(peer, socket);
      socket.once('close', () => {
        if (this.#underWay.get(peer) === socket) this.#underWay.delete(peer);
      });
    });
    server.on('secureConnection', (socket: TLSSocket) => this.#underWay.delete(peerOf(socket)));
    // Not an error of this server: the client speaks no TLS, trusts another authority, or is too slow.
    server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
  }

  /** Ends those under way. */
  end(): void {
    for (const socket of this.#underWay.values()) socket.destroy();
  }
}
