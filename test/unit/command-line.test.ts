import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { run } from '../../cli/program.ts';

let out: string;
let err: string;
beforeEach(() => {
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    out += String(chunk);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    err += String(chunk);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

describe('the command line', () => {
  test.each(
    [
      ...[
        'start',
        'check',
        'order',
        'replay',
        'flash-sale',
        'compare',
        'logs',
        'payment-provider',
        'failed',
        'audit',
        'outage',
        'contracts',
        'history',
      ],
      '',
    ].map((command) => [command === '' ? [] : [command]]),
  )('shows an example in the help, wrapped at 80 columns: %j', async (command) => {
    expect(await run([...command, '--help'])).toBe(0);
    expect(out).toMatch(/Examples?:\n +\$ sluice/);
    expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });

  test('lists the environment variables in the help of start', async () => {
    await run(['start', '--help']);
    for (const name of ['DATABASE_URL', 'AMQP_URL', 'MQTT_URL', 'PORT', 'DATA_DIR']) expect(out).toContain(name);
  });

  test.each([
    [['ordr'], /Did you mean order/],
    [['order', '--usre', 'a'], /Did you mean --user/],
    [['order', '--user', 'a b'], /--user.*1 to 64 characters/],
    [['order', '--currency', 'gbp'], /--currency.*ISO 4217/],
    [['order', '--item', 'MUG:2'], /--item.*sku:quantity:unitPrice/],
    [['order', '--item', 'MUG:0:5'], /--item.*quantity from 1/],
    [['order', '--key', ''], /--key.*1 to 255 printable/],
    [['order', '--timeout', 'soon'], /--timeout.*an integer from 0 to 86400/],
    [['order', '--url', 'localhost:3000'], /--url.*http:\/\/ or https:\/\//],
    [['replay'], /missing required argument 'file'/],
    [['replay', 'x.csv', '--max', '--speed', '2'], /--max.*--speed/],
    [['replay', 'x.csv', '--concurrency', '0'], /--concurrency.*an integer from 1 to 1000/],
    [['start', 'oder'], /Allowed choices are order, points/],
    [['logs', '--level', 'loud'], /Allowed choices are trace, debug/],
    [['logs', '--prefix', '#'], /--prefix.*1 to 40 characters/],
  ])('rejects a usage error, names the allowed values and exits with 2: %j', async (argv, message) => {
    expect(await run(argv)).toBe(2);
    expect(err).toMatch(message);
  });

  test.each([
    [
      ['order', '--url', 'http://127.0.0.1:1'],
      /^error: cannot reach http:\/\/127\.0\.0\.1:1: is `npm start` running\?\n$/,
    ],
    [
      ['logs', '--mqtt-url', 'mqtt://me:secret@127.0.0.1:1'],
      /^error: cannot reach mqtt:\/\/me:\*\*\*@127\.0\.0\.1:1: .*\n$/,
    ],
    [['replay', 'none.csv'], /^error: cannot read none\.csv: .*\n$/],
  ])('reports a failure in one line and exits with 1: %j', async (argv, message) => {
    expect(await run(argv)).toBe(1);
    expect(err).toMatch(message);
    expect(out).toBe('');
  });
});
