// Servers that cannot listen.
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { listen, listenAt } from '../../infra/http/server.ts';
import { StartupError } from '../../infra/runtime/startup-error.ts';
import { listen as listenOnFreePort } from '../setup/listen.ts';

/** No machine has this address: RFC 5737. */
const FOREIGN = '192.0.2.1';
const handler = () => undefined;

test('a server at HOST and PORT names them, and says how to change them', async () => {
  const listening = listenAt({ HOST: FOREIGN, PORT: 0 }, handler);
  await expect(listening).rejects.toBeInstanceOf(StartupError);
  await expect(listening).rejects.toThrow(
    /^cannot listen on HOST=192\.0\.2\.1, PORT=0 \(.*EADDRNOTAVAIL.*\): set them to an address and a port of this machine$/,
  );
});

test('a port in use is named, and PORT as the setting to change', async () => {
  const squatter = createServer();
  onTestFinished(() => void squatter.close());
  const port = await listenOnFreePort(squatter);
  await expect(listenAt({ HOST: '127.0.0.1', PORT: port }, handler)).rejects.toThrow(
    `port ${port} on 127.0.0.1 is in use: stop what uses it, or set PORT to another port (0 takes a free one)`,
  );
});

test('a server of a warm-up names no setting', async () => {
  const message = expect.not.stringMatching(/HOST|PORT/);
  await expect(listen(handler, FOREIGN, 0)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL', message });
});
