// The addresses of the broker: one URL, or the URLs of a cluster's nodes, which are tried in turn.
import type { Options } from 'amqplib';
import { splitUrls } from '../../runtime/urls.ts';

/** The connection to a silent broker ends after two to three of these. A `?heartbeat=` in the URL takes precedence. */
const HEARTBEAT_SECONDS = 10;

export class BrokerNodes {
  readonly #nodes: readonly Required<Address>[];
  #index = 0;
  /** The node to connect to. Always the same object: amqplib reads it again at each attempt. */
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

  /** Selects the next node; after the last one comes the first. */
  advance(): void {
    this.#index = (this.#index + 1) % this.#nodes.length;
    Object.assign(this.current, this.#nodes[this.#index]);
  }
}

type Address = Omit<Options.Connect, 'credentials' | 'maxFrameSize'>;

/** Sets every field, so that advance() leaves none of the previous node. */
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
