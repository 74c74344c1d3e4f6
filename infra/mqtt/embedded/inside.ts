// Connections to the embedded broker from inside its process, over memory. Being made here is what they are trusted by.
import { type Duplex, duplexPair } from 'node:stream';
import type { Aedes, Client } from 'aedes';
import { MqttClient } from 'mqtt';
import { type Connect, connectionDefaults } from '../connect.ts';

export interface Insiders {
  readonly connect: Connect;
  readonly include: (client: Client) => boolean;
}

/** `broker` is asked for when a connection is made, because the broker itself asks who is an insider. */
export function createInsiders(broker: () => Aedes): Insiders {
  const insiders = new WeakSet<Client>();

  function openStream(): Duplex {
    const [ours, theirs] = duplexPair();
    ours.once('close', () => theirs.destroy());
    theirs.once('close', () => ours.destroy());
    if (broker().closed) ours.destroy();
    else insiders.add(broker().handle(theirs));
    return ours;
  }

  return {
    include: (client) => insiders.has(client),
    // Without a listener an error, such as a connection that ends, would be thrown.
    connect: (options) => new MqttClient(openStream, { ...connectionDefaults, ...options }).on('error', () => {}),
  };
}
