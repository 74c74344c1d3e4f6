// A user's topic as docs/operations.md describes it: its command runs on the embedded broker, and the payload is that of
// GET /users/<id>/notifications.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { notification } from '../../contracts/users.ts';
import { userTopic } from '../../infra/mqtt/topics.ts';
import { freePort } from '../servers/ports.ts';
import { findPrograms } from '../servers/programs.ts';
import { call, jsonRequest, orderOf } from '../setup/api.ts';
import { cleanUps } from '../setup/clean-ups.ts';
import { eventually } from '../setup/wait.ts';
import { embedded, type System } from './support/systems.ts';

const docs = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const [, command = ''] = /<!-- tested: notifications -->\n```sh\n(.*)\n```/.exec(docs) ?? [];
const isInstalled = await findPrograms('mosquitto_sub').then(
  ({ kind }) => kind === 'installed',
  () => Boolean(process.env.CI),
);

let system: System;
let folder: string;
beforeAll(async () => {
  const port = await freePort();
  system = await embedded.start({ MQTT_PORT: String(port), BUS_PREFIX: 'sluice' });
  folder = await mkdtemp(join(tmpdir(), 'sluice-mosquitto-sub-'));
  await mkdir(join(folder, 'config'));
  // mosquitto_sub reads options that its command line lacks from here.
  await writeFile(join(folder, 'config', 'mosquitto_sub'), `-h 127.0.0.1\n-p ${port}\n`);
});
afterAll(async () => {
  await system?.remove();
  await rm(folder, { recursive: true, force: true });
});

test.skipIf(!isInstalled)("the documented command prints a user's next notification", async () => {
  let output = '';
  const env = { PATH: process.env.PATH, XDG_CONFIG_HOME: join(folder, 'config') };
  const child: ChildProcess = spawn('sh', ['-c', `exec ${command}`], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  cleanUps.push(() => child.kill());
  child.stdout?.on('data', (chunk) => (output += String(chunk)));
  // It may not have subscribed yet when the first order is placed.
  await eventually(
    async () => {
      await call(`${system.url('order')}/orders`, jsonRequest(orderOf('ann')));
      return output.endsWith('\n');
    },
    { what: 'the notification is printed', timeoutMs: 20_000 },
  );
  const printed = notification.parse(JSON.parse(output));
  expect(printed.kind).toBe('order.placed');
  const { text } = await call(`${system.url('notify')}/users/ann/notifications`);
  expect((JSON.parse(text) as { items: unknown[] }).items).toContainEqual(printed);
});

test('the documented topic is the one that is published on', () => {
  expect(command).toContain(userTopic('sluice', 'ann'));
  expect(docs).toContain(userTopic('sluice', 'ann.lee@shop'));
});
