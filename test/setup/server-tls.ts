// TLS on running servers, beside their ports without it.
import { chmod, chown, copyFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Redis } from 'ioredis';
import type { Client } from 'pg';
import { freePort } from '../servers/ports.ts';
import type { Rabbitmq } from '../servers/rabbitmq.ts';
import type { Certificates } from './certificates.ts';
import { eventually } from './wait.ts';

/** On the same port. Returns the path of the file pg_hba.conf. */
export async function addPostgresTls(client: Client, certificates: Certificates): Promise<string> {
  const setting = async (name: string) => String((await client.query(`SHOW ${name}`)).rows[0]?.[name]);
  const hba = await setting('hba_file');
  // PostgreSQL takes only a key that no other user can read.
  const { uid, gid } = await stat(hba);
  for (const [part, parameter] of [
    ['cert', 'ssl_cert_file'],
    ['key', 'ssl_key_file'],
  ] as const) {
    const path = join(dirname(hba), `server.${part}`);
    await copyFile(certificates[part], path);
    await chown(path, uid, gid);
    await chmod(path, 0o600);
    await client.query(`ALTER SYSTEM SET ${parameter} = ${client.escapeLiteral(path)}`);
  }
  await client.query('ALTER SYSTEM SET ssl = on');
  await client.query('SELECT pg_reload_conf()');
  await eventually(async () => (await setting('ssl')) === 'on', { what: 'the server has TLS' });
  return hba;
}

/** Returns the port with TLS. */
export async function addRabbitmqTls(server: Rabbitmq, { ca, cert, key }: Certificates): Promise<number> {
  const port = await freePort();
  const files = `{cacertfile,"${ca}"},{certfile,"${cert}"},{keyfile,"${key}"}`;
  const start = (address: string) =>
    server.ctl('eval', `rabbit_networking:start_ssl_listener(${address}, [${files},{verify,verify_none}], 1).`);
  // The first form is that of older versions.
  await start(`hd([{{127,0,0,1},${port}}])`).catch(() => start(`{"127.0.0.1", ${port}}`));
  return port;
}

/** Returns the port with TLS. */
export async function addRedisTls(admin: Redis, { ca, cert, key }: Certificates): Promise<number> {
  const port = await freePort();
  for (const [name, value] of Object.entries({
    'tls-cert-file': cert,
    'tls-key-file': key,
    'tls-ca-cert-file': ca,
    'tls-auth-clients': 'no',
    'tls-port': String(port),
  }))
    await admin.config('SET', name, value);
  return port;
}
