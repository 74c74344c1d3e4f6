// MQTT_URL: each broker of the list.
import { brokerFaults, brokerVersion } from '../../infra/mqtt/broker-check.ts';
import { connectTo } from '../../infra/mqtt/connect.ts';
import { redactUrl, splitUrls } from '../../infra/runtime/server-url.ts';
import type { Config } from '../config.ts';
import type { Target } from './report.ts';

/** Messages that wait for a service that is away; Mosquitto drops those beyond 1,000 by default. */
const DEPTH = 2_000;

export function mqttTargets({ MQTT_URL: list, BUS_PREFIX: prefix, busKind }: Config): Target[] {
  if (!list) return [];
  const carriesEvents = busKind === 'mqtt';
  const events = carriesEvents ? `, QoS 2, sessions with ${DEPTH} waiting messages` : '';
  return splitUrls(list).map((url) => ({
    variable: 'MQTT_URL',
    server: redactUrl(url.trim()),
    check: async (signal) => {
      const probe = { connect: connectTo(url), hosts: 1, signal, prefix };
      const version = await brokerVersion(probe);
      const uses = carriesEvents ? (['events', 'notifications'] as const) : (['notifications'] as const);
      const problems = await brokerFaults({ ...probe, uses, depth: DEPTH });
      const facts = problems.length > 0 ? [] : [`topics ${prefix}/#, retained messages, messages of 64 KiB${events}`];
      return { version: version ?? 'MQTT 3.1.1, version unknown', facts, problems };
    },
  }));
}
