// Where the broker is: one URL, or those of a cluster's nodes, which are tried in turn.
import type { Options } from 'amqplib';
import { splitUrls } from '../../runtime/settings.ts';

/** A peer that falls silent is given up after two to three of these. A `?heartbeat=` in the URL goes before. */
const HEARTBEAT_SECONDS = 10;

export class Addresses {
  readonly #nodes: readonly Required<Address>[];
  #at = 0;
  /** What to connect to. This one object always: amqplib reads it again for each attempt. */
  readonly current: Address;

  /** One URL, or several separated by commas. */
  constructor(urls: string) {
    this.#nodes = splitUrls(urls).map(parse);
    this.current = { ...this.#nodes[0] };
  }

  get count(): number {
    return this.#nodes.length;
  }

  /** Host and port, for logs. */
  get name(): string {
    return `${this.current.hostname}:${this.current.port}`;
  }

  /** Turns to the next node; after the last one comes the first. */
  advance(): void {
    this.#at = (this.#at + 1) % this.#nodes.length;
    Object.assign(this.current, this.#nodes[this.#at]);
  }
}

type Address = Omit<Options.Connect, 'credentials' | 'maxFrameSize'>;

/** With every field, so that none is left of the node before. */
function parse(text: string): Required<Address> {
  const { protocol, hostname, port, username, password, pathname, searchParams } = new URL(text);
  const tls = protocol === 'amqps:';
  const anonymous = username === '' && password === '';
  return {
    protocol: tls ? 'amqps' : 'amqp',
    hostname: hostname.replace(/^\[|\]$/g, ''), // around an IPv6 address
    port: Number(port) || (tls ? 5671 : 5672),
    username: anonymous ? 'guest' : decodeURIComponent(username),
    password: anonymous ? 'guest' : decodeURIComponent(password),
    vhost: pathname.slice(1), // amqplib decodes it; empty is "/"
    heartbeat: Number(/^\d+$/.exec(searchParams.get('heartbeat') ?? '')?.[0] ?? HEARTBEAT_SECONDS),
    channelMax: Number(searchParams.get('channelMax') ?? 0),
    frameMax: Number(searchParams.get('frameMax') ?? 131_072),
    locale: searchParams.get('locale') ?? 'en_US',
  };
}
