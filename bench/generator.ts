// The load generator, a process of its own: keeps a fixed number of connections busy with orders, as long as the
// benchmark allows more of them, and reports how many were accepted and what that cost itself.
import { orderBodies } from './orders.ts';
import { RawConnection, serializePost } from './raw-http.ts';

export type Command =
  /** Connects, and counts from zero. `url` is where orders are posted. */
  | { readonly type: 'open'; readonly url: string; readonly connections: number }
  /** Orders may be sent until there are `upTo` since the last `open`. */
  | { readonly type: 'allow'; readonly upTo: number }
  | { readonly type: 'sample' };

export interface Sample {
  /** `idle`: everything that was allowed is answered. */
  readonly type: 'sample' | 'idle';
  /** As last allowed: tells which command an `idle` belongs to. */
  readonly allowed: number;
  readonly accepted: number;
  /** Answers other than 201, by status. */
  readonly refused: Readonly<Record<number, number>>;
  /** Since the first `allow`, and the CPU that this process used in that time. */
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

let connections: RawConnection[] = [];
let waiting: RawConnection[] = [];
let requests: Buffer[] = [];
let allowed = 0;
let sent = 0;
let answered = 0;
let refused: Record<number, number> = {};
let startedAt = 0;
let cpuAtStart = process.cpuUsage();

function open(url: URL, count: number): void {
  for (const connection of connections) connection.close();
  requests = orderBodies().map((body) => serializePost(url.host, url.pathname, body));
  allowed = sent = answered = 0;
  refused = {};
  connections = Array.from({ length: count }, () => {
    const connection = new RawConnection(
      url,
      (status) => {
        answered++;
        if (status !== 201) refused[status] = (refused[status] ?? 0) + 1;
        waiting.push(connection);
        pump();
      },
      (error) => {
        throw error;
      },
    );
    return connection;
  });
  waiting = [...connections];
}

/** Sends on the connections that have waited longest, as servers end those that are idle for seconds. */
function pump(): void {
  while (sent < allowed) {
    const connection = waiting.shift();
    const request = requests[sent % requests.length];
    if (!connection || !request) return;
    sent++;
    connection.send(request);
  }
  if (waiting.length === connections.length) report('idle');
}

function allow(upTo: number): void {
  if (sent === 0) {
    startedAt = performance.now();
    cpuAtStart = process.cpuUsage();
  }
  allowed = upTo;
  pump();
}

function report(type: Sample['type']): void {
  const { user, system } = process.cpuUsage(cpuAtStart);
  const accepted = answered - Object.values(refused).reduce((sum, count) => sum + count, 0);
  const elapsedMs = performance.now() - startedAt;
  process.send?.({ type, allowed, accepted, refused, elapsedMs, cpuMs: (user + system) / 1_000 } satisfies Sample);
}

process.on('message', (command: Command) => {
  switch (command.type) {
    case 'open':
      return open(new URL(command.url), command.connections);
    case 'allow':
      return allow(command.upTo);
    case 'sample':
      return report('sample');
  }
});
// The benchmark is over, or has died.
process.on('disconnect', () => {
  for (const connection of connections) connection.close();
});
