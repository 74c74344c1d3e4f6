// The certificate of this process's own servers, from the files TLS_CERT and TLS_KEY. New contents of the files take
// effect without a restart: for connections that begin after that.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls';
import type { Logger } from 'pino';
import { Loop } from './loop.ts';
import { reasonOf } from './reason.ts';
import { StartupError } from './startup-error.ts';

/** The files are read this often, because a watch misses files that are replaced through a link, as in Kubernetes. */
const READ_EVERY_MS = 5_000;

/** A certificate, followed by those of intermediate authorities, and its key: the paths of PEM files, or their contents. */
interface Pair {
  readonly cert: string;
  readonly key: string;
}

export class ServerCertificate {
  readonly #files: Pair;
  readonly #loop: Loop;
  readonly #servers: Server[] = [];
  #pair: Pair;

  private constructor(files: Pair, pair: Pair, log: Logger) {
    this.#files = files;
    this.#pair = pair;
    // A pair that cannot be used, as while only one file is new, or that has expired, fails the turn and changes nothing.
    this.#loop = new Loop({ name: 'certificate', everyMs: READ_EVERY_MS, turn: () => this.#reload(log), log });
  }

  /** Rejects with a StartupError that names the variable and the file if the pair cannot be used. */
  static async open(files: Pair, log: Logger): Promise<ServerCertificate> {
    return new ServerCertificate(files, await read(files), log);
  }

  /** For a server that follow() is called with. */
  get options(): SecureContextOptions {
    return contextOptions(this.#pair);
  }

  /** From now on, the server gets new certificates. */
  follow(server: Server): void {
    this.#servers.push(server);
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #reload(log: Logger): Promise<void> {
    const pair = await read(this.#files);
    if (pair.cert === this.#pair.cert && pair.key === this.#pair.key) return;
    this.#pair = pair;
    for (const server of this.#servers) server.setSecureContext(contextOptions(pair));
    log.info({ file: this.#files.cert, validTo: new X509Certificate(pair.cert).validTo }, 'new TLS certificate');
  }
}

const contextOptions = (pair: Pair): SecureContextOptions => ({ ...pair, minVersion: 'TLSv1.2' });

const CERT_RULE = 'it must be a PEM file with a certificate, followed by those of intermediate authorities';
const KEY_RULE = 'it must be a PEM file with the private key of TLS_CERT, without a passphrase';

/** Rejects with a StartupError, which quotes nothing of the files. */
async function read(files: Pair): Promise<Pair> {
  const pair = {
    cert: await textOf('TLS_CERT', files.cert, CERT_RULE),
    key: await textOf('TLS_KEY', files.key, KEY_RULE),
  };
  check(pair, files);
  return pair;
}

function check(pair: Pair, { cert: certFile, key: keyFile }: Pair): void {
  const certificate = certificateOf(pair.cert);
  if (!certificate) throw new StartupError(`TLS_CERT=${certFile} has no certificate: ${CERT_RULE}`);
  const key = keyOf(pair.key);
  if (!key) throw new StartupError(`TLS_KEY=${keyFile} has no private key that can be read: ${KEY_RULE}`);
  if (!certificate.checkPrivateKey(key))
    throw new StartupError(`TLS_KEY=${keyFile} is not the key of TLS_CERT=${certFile}: ${KEY_RULE}`);
  const now = Date.now();
  if (now > Date.parse(certificate.validTo))
    throw new StartupError(`TLS_CERT=${certFile} expired on ${certificate.validTo}: renew it`);
  if (now < Date.parse(certificate.validFrom))
    throw new StartupError(
      `TLS_CERT=${certFile} is valid from ${certificate.validFrom} on: wait, or correct this machine's clock`,
    );
  try {
    createSecureContext(contextOptions(pair));
  } catch (error) {
    throw new StartupError(`TLS_CERT=${certFile} cannot be used (${reasonOf(error)}): ${CERT_RULE}`, { cause: error });
  }
}

async function textOf(variable: string, file: string, rule: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new StartupError(`${variable}=${file} cannot be read (${reasonOf(error)}): ${rule}`, { cause: error });
  }
}

function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function keyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
