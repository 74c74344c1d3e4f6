// Processes that the benchmark starts beside the system: what it is measured against.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const START_WITHIN_MS = 30_000;

export interface Peer {
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}

/** A bare Express route for what the system is asked, or a bare node:http server (route.ts). */
export type PeerKind = 'order' | 'flash-sale' | 'http';

export async function startPeer(kind: PeerKind): Promise<Peer> {
  const child = forkScript('route.ts', [kind]);
  const url = await firstMessage<string>(child, START_WITHIN_MS);
  return { url, pid: child.pid ?? 0, close: () => endChild(child) };
}

/** Orders per second of the bare AMQP loop (amqp-loop.ts). */
export async function measureAmqpLoop(url: string, warmUpSeconds: number, seconds: number): Promise<number> {
  const child = forkScript('amqp-loop.ts', [url, String(warmUpSeconds), String(seconds)]);
  try {
    return await firstMessage<number>(child, START_WITHIN_MS + (warmUpSeconds + seconds) * 1_000);
  } finally {
    await endChild(child);
  }
}

/** A script beside this one, which ends by itself when it is disconnected: also when the benchmark dies. */
export const forkScript = (script: string, args: readonly string[] = []): ChildProcess =>
  fork(fileURLToPath(new URL(script, import.meta.url)), args, { env: { ...process.env, NODE_ENV: 'production' } });

export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (child.connected) child.disconnect();
  await exited;
}

function firstMessage<T>(child: ChildProcess, withinMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${child.spawnargs[1]} said nothing within ${withinMs} ms`));
    }, withinMs);
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`${child.spawnargs[1]} ended with code ${code}`));
    });
    child.once('message', (message) => {
      clearTimeout(timer);
      resolve(message as T);
    });
  });
}
