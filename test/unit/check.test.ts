// `sluice check` as a command: its output and exit codes. What it finds on servers: test/contract/check.test.ts.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ServerReport, withoutPrimary } from '../../app/check/report.ts';
import { run } from '../../cli/program.ts';

let folder: string;
let out = '';
let err = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-check-'));
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
  vi.stubEnv('DATA_DIR', join(folder, 'data'));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

test('everything embedded: one line, exit code 0, and no folder', async () => {
  expect(await run(['check'])).toBe(0);
  expect(out).toMatch(/^✓ {2}DATA_DIR {2}.*for the database, the MQTT broker, the payment provider; [^\n]*\n$/);
  expect(readdirSync(folder)).toEqual([]);
});

test('a server that is away: its line without the password, and exit code 1', async () => {
  vi.stubEnv('MQTT_URL', 'mqtt://ann:s3cret@127.0.0.1:1');
  expect(await run(['check'])).toBe(1);
  expect(out).toMatch(/^✗ {2}MQTT_URL {2}mqtt:\/\/ann:\*\*\*@127\.0\.0\.1:1 +no connection: connect ECONNREFUSED/m);
  expect(err).toMatch(/^error: 1 of 2 would not work\n$/);
  expect(out + err).not.toContain('s3cret');
});

test('--json prints one document for programs', async () => {
  vi.stubEnv('MQTT_URL', 'mqtt://127.0.0.1:1');
  expect(await run(['check', '--json'])).toBe(1);
  const report = JSON.parse(out) as { ok: boolean; servers: ServerReport[] };
  expect(report.ok).toBe(false);
  expect(report.servers.map(({ variable, status }) => [variable, status])).toEqual([
    ['MQTT_URL', 'failed'],
    ['DATA_DIR', 'ok'],
  ]);
});

test('a setting that is not allowed: exit code 2, and nothing is checked', async () => {
  vi.stubEnv('MQTT_URL', 'mqtt://ann:s3cret@127.0.0.1:1?clientId=x');
  expect(await run(['check'])).toBe(2);
  expect([out, err]).toEqual(['', expect.stringMatching(/^error: MQTT_URL=.* the parameter clientId is not known/)]);
});

test('a standby is no problem beside a server that accepts writes, and one without it', () => {
  const server = (isStandby: boolean, status: ServerReport['status'] = 'ok'): ServerReport => ({
    ...{ variable: 'DATABASE_URL', server: 'db:5432', status, isStandby, version: null, clockDifferenceMs: null },
    ...{ facts: [], warnings: [], problems: [] },
  });
  const standby = server(true);
  expect(withoutPrimary([server(false), standby]).map(({ status }) => status)).toEqual(['ok', 'ok']);
  expect(withoutPrimary([server(false, 'warning'), standby])[1]).toBe(standby);
  expect(withoutPrimary([server(false, 'failed'), standby])[1]).toMatchObject({ status: 'failed' });
  expect(withoutPrimary([standby, standby]).map(({ status }) => status)).toEqual(['failed', 'failed']);
});
