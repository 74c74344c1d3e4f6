// A private certificate authority and a server's certificate for 127.0.0.1 and localhost, made with openssl.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface KeyPair {
  /** PEM files. The key is readable by every user, because some servers run as users of their own. */
  readonly cert: string;
  readonly key: string;
}

export interface Certificates extends KeyPair {
  readonly folder: string;
  readonly ca: string;
  /** An authority that has signed nothing. */
  readonly otherCa: string;
  /** Another certificate of the same authority. `days` may be negative: it has expired. */
  issue(name: string, days: number): Promise<KeyPair>;
  remove(): Promise<void>;
}

export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-certificates-'));
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  const newKey = ['-newkey', 'rsa:2048', '-nodes'];
  const authority = (name: string) =>
    openssl(
      ...['req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`],
      ...['-keyout', `${name}.key`, '-out', `${name}.pem`],
    );
  const issue = async (name: string, days: number): Promise<KeyPair> => {
    const [cert, key, request] = [`${name}.pem`, `${name}.key`, `${name}.csr`] as const;
    await openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request);
    await openssl(
      ...['x509', '-req', '-in', request, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-days', String(days), '-extfile', 'names', '-out', cert],
    );
    await chmod(join(folder, key), 0o644);
    return { cert: join(folder, cert), key: join(folder, key) };
  };
  await chmod(folder, 0o755);
  await writeFile(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost');
  await Promise.all([authority('ca'), authority('other')]);
  return {
    ...(await issue('server', 2)),
    folder,
    ca: join(folder, 'ca.pem'),
    otherCa: join(folder, 'other.pem'),
    issue,
    remove: () => rm(folder, { recursive: true }),
  };
}
