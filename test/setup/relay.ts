// A relay of an outbox, with a transport that the test provides.
import { Outbox } from '../../infra/messaging/outbox.ts';
import { Relay, type RelayOptions } from '../../infra/messaging/relay.ts';
import { log } from './bus-fixtures.ts';
import { cleanUps } from './clean-ups.ts';

type Options = Pick<RelayOptions, 'database' | 'schema' | 'publish'> &
  Partial<Pick<RelayOptions, 'channel' | 'leaseMs' | 'pollMs'>>;

/** Starts a relay and an outbox that hands it rows. The relay stops after the test. */
export function startRelay({ channel = 'bus', leaseMs = 60_000, pollMs = 50, ...options }: Options) {
  const outbox = new Outbox(options.schema);
  const relay = new Relay({ channel, leaseMs, pollMs, ...options, log });
  outbox.connect(channel, relay);
  relay.start();
  cleanUps.push(() => relay.stop());
  return { relay, outbox };
}
