// Connections to the embedded broker from outside, TCP and WebSocket: counted, bounded, and ended with the broker.
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { MqttPortInUse } from '../../runtime/startup-error.ts';
import { BoundedConnection } from './bounded-connection.ts';

/** Connections at a time; more are turned away. */
const MAX_CONNECTIONS = 1_000;

export interface Outsiders {
  /** Lets a connection in, or destroys it where there are too many. */
  admit(socket: Duplex): void;
  disconnectAll(): void;
}

/** `handle` gets each connection that is let in. */
export function createOutsiders(handle: (connection: BoundedConnection) => void): Outsiders {
  const connections = new Set<BoundedConnection>();
  return {
    admit(socket) {
      // A socket without a listener for its errors would end the process.
      socket.on('error', () => socket.destroy());
      if (connections.size >= MAX_CONNECTIONS) {
        socket.destroy();
        return;
      }
      const connection = new BoundedConnection(socket);
      connections.add(connection);
      connection.once('close', () => connections.delete(connection));
      handle(connection);
    },
    disconnectAll() {
      for (const connection of connections) connection.destroy();
    },
  };
}

/** Listens on TCP; rejects with MqttPortInUse where something else does. */
export function listen(host: string, port: number, admit: (socket: Duplex) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, admit);
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new MqttPortInUse(host, port, error) : error),
    );
    server.listen(port, host, () => resolve(server));
  });
}

export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the MQTT listener has no port');
  return address.port;
}
