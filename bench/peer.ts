// Starts what the system is measured against (route.ts) and the bare AMQP loop, and ends them again.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface Peer {
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}

export async function startPeer(kind: 'express' | 'http'): Promise<Peer> {
  const child = fork(fileURLToPath(new URL('route.js', import.meta.url)), [kind], {
    env: { ...process.env, NODE_ENV: 'production' },
  });
  const [url] = (await once(child, 'message')) as [string];
  return { url, pid: child.pid ?? 0, close: () => endChild(child) };
}

/** Ends a forked child that ends by itself when it is disconnected. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (child.connected) child.disconnect();
  await exited;
}
