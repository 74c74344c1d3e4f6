// RabbitMQ 4, if the other tests run with an older version: the guarantees of the bus, and the broker killed under
// load.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { startRabbitmq } from '../servers/rabbitmq.ts';
import { conclude } from './support/conclude.ts';
import { Load } from './support/load.ts';
import { newSchedule, rounds } from './support/schedule.ts';
import { startSystem } from './support/system.ts';

/** I7 */
const DONE_WITHIN_MS = 30_000;
const servers = inject('servers');

// If it is missing, the end of the run says how to get it.
describe.skipIf(!servers.rabbitmq4)('RabbitMQ 4', () => {
  test('loses no confirmed event when it is killed and restarted while events are published', async () => {
    const schedule = newSchedule();
    const rabbitmq = await startRabbitmq({ version: 4 });
    onTestFinished(() => rabbitmq.stop());
    expect((await rabbitmq.ctl('version')).trim()).toMatch(/^4\./);
    const { process, databaseUrl } = await startSystem({
      postgresUrl: servers.databaseUrl,
      mqttUrl: servers.mosquittoUrl,
      amqpUrl: rabbitmq.amqpUrl,
    });
    const load = new Load({ urls: [process('order').url], schedule });
    for (let round = 0; round < rounds; round++) {
      await load.morePlaced(40);
      await schedule.runFor(0, 500);
      await rabbitmq.kill();
      await load.morePlaced(40);
      await rabbitmq.restart();
    }
    const over = performance.now();
    const fault = 'RabbitMQ 4 killed and restarted';
    const { failed } = await conclude({ fault, rounds, databaseUrl, load, over, withinMs: DONE_WITHIN_MS });
    expect(failed).toEqual([]);
    // The order service does not need the broker.
    expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 201)).toEqual([]);
  });

  test('passes the contract tests of RabbitMQ', { timeout: 420_000 }, async () => {
    const { PATH = '', HOME = '' } = process.env;
    const run = promisify(execFile)(
      process.execPath,
      [
        'node_modules/vitest/vitest.mjs',
        'run',
        ...['--project', 'contract', '--project', 'long', 'test/contract/bus.test.ts'],
        ...['test/long/rabbitmq.test.ts', 'test/long/rabbitmq-replies.test.ts'],
        // Without the fixtures of the bus suite for other brokers.
        ...['--testNamePattern', '^(?!\\s*(local on|MQTT on the embedded|MQTT on Mosquitto))'],
      ],
      {
        cwd: fileURLToPath(new URL('../..', import.meta.url)),
        env: {
          PATH,
          HOME,
          TEST_RABBITMQ: '4',
          TEST_DATABASE_URL: servers.databaseUrl,
          TEST_MQTT_URL: servers.mosquittoUrl,
          TEST_REDIS_URL: servers.redisUrl,
        },
        timeout: 400_000,
        maxBuffer: 64 * 1024 * 1024,
      },
    );
    const { stdout } = await run.catch((error: { stdout?: string; stderr?: string }) => {
      throw new Error(`the contract tests failed:\n${`${error.stdout}${error.stderr}`.slice(-6_000)}`);
    });
    // Proves that all three files ran.
    expect(stdout).toMatch(/Test Files.*3 passed/);
  });
});
