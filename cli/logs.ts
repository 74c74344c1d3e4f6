// `sluice logs`: follows the services' logs, from any machine that reaches the MQTT broker.
import { Command, Option } from '@commander-js/extra-typings';
import type { MqttClient } from 'mqtt';
import { z } from 'zod';
import { SUBJECT_NAME, serviceNames } from '../contracts/services.ts';
import { tokenInUse, userOfToken } from '../demos/shared/credentials.ts';
import { CliError } from '../demos/shared/errors.ts';
import { aborted, untilInterrupted } from '../demos/shared/interrupt.ts';
import { count, note, paint, print, printable } from '../demos/shared/terminal.ts';
import { clientIdOf } from '../infra/mqtt/client-ids.ts';
import { connectTo, endConnection } from '../infra/mqtt/connect.ts';
import { logTopic, presenceTopic, userLevel } from '../infra/mqtt/topics.ts';
import { formatLogLine } from '../infra/observability/log-format.ts';
import { reasonOf } from '../infra/runtime/reason.ts';
import { redactUrl } from '../infra/runtime/server-url.ts';
import { type LogEntry, LogReader, levels } from './logs/reader.ts';
import { matching, mqttUrl, type OptionsOf, tokenOption, wrapped } from './options.ts';

const prefix = z.string().regex(/^[A-Za-z0-9_-]{1,40}$/, 'must be 1 to 40 characters of A-Z a-z 0-9 _ -');

const help = `
Examples:
  $ sluice logs --level warn
  $ sluice logs --service points --service coupon
  $ sluice logs --json --order 019a2b… | jq .msg

Logs over MQTT may have gaps, by design, so that they never slow a service down. Ctrl-C ends the command.`;

const command = () =>
  new Command('logs')
    .description("follow the services' logs over MQTT")
    .addOption(
      new Option('--mqtt-url <url>', 'URL of the MQTT broker')
        .env('MQTT_URL')
        .default('mqtt://127.0.0.1:1883')
        .argParser(mqttUrl),
    )
    .addOption(
      new Option('--prefix <prefix>', 'prefix of every topic')
        .env('BUS_PREFIX')
        .default('sluice')
        .argParser(matching(prefix)),
    )
    .addOption(
      new Option('--service <name...>', 'only lines of these services; main: lines that belong to no service').choices([
        ...serviceNames,
        'main',
      ]),
    )
    .addOption(new Option('--level <level>', 'only lines of this level or higher').choices(levels))
    .option('--order <id>', 'only lines about this order')
    .addOption(tokenOption())
    .option('--json', 'print each line as JSON')
    .addHelpText('after', wrapped(help));

export const logsCommand = () => command().action((options) => untilInterrupted((signal) => logs(options, signal)));

async function logs(options: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  const { prefix, service: services = ['+'] } = options;
  const topics = services.flatMap((service) => [logTopic(prefix, service), presenceTopic(prefix, service, '+')]);
  const reader = new LogReader(options);
  const client = connectTo(options.mqttUrl)({ clientId: clientIdOf(prefix, 'logs'), clean: true, ...credentials() });

  client.on('message', (topic, payload) => {
    for (const entry of reader.read(topic, payload)) print(options.json ? jsonOf(entry) : textOf(entry));
  });
  try {
    await Promise.race([follow(client, redactUrl(options.mqttUrl), topics), aborted(signal)]);
  } finally {
    await endConnection(client);
    if (reader.unreadable === 1) note('1 message could not be read');
    else if (reader.unreadable > 1) note(`${count(reader.unreadable)} messages could not be read`);
  }
}

/** On the embedded broker the password is a token, and the user name its user. Those of the URL take precedence. */
function credentials(): { username?: string; password?: string } {
  const [user, token] = [userOfToken(process.env.AUTH_USER_CLAIM || 'sub'), tokenInUse()];
  return user === undefined || token === undefined ? {} : { username: userLevel(user), password: token };
}

/** Keeps the subscriptions open and notes each loss of the connection. Rejects if the first connection fails. */
function follow(client: MqttClient, url: string, topics: string[]): Promise<never> {
  return new Promise((_, reject) => {
    let state: 'new' | 'connected' | 'lost' = 'new';
    const fail = (reason: string) => {
      const hint = /username|authorized/i.test(reason)
        ? 'set SLUICE_TOKEN, or --token, to the token of an operator'
        : 'is `npm start` or the MQTT broker running?';
      reject(new CliError(`cannot reach ${url}: ${reason}; ${hint}`));
    };
    client.on('connect', () => {
      note(paint('dim', state === 'new' ? `following ${url}` : `reconnected to ${url}`, process.stderr));
      state = 'connected';
      client.subscribe(topics, { qos: 0 }, (error, granted) => {
        // If the connection was lost meanwhile, the next 'connect' subscribes again.
        const rejected = granted?.some(({ qos }) => qos >= 128) ?? false;
        if (rejected || (error && client.connected))
          reject(
            new CliError(
              `${url} rejects the subscription to ${topics.join(', ')}: it may need the token of an operator`,
            ),
          );
      });
    });
    // Only the first connection must succeed; the client retries later ones.
    client.on('error', (error) => {
      if (state === 'new') fail(reasonOf(error));
    });
    client.on('close', () => {
      if (client.disconnecting) return; // closed by this command
      if (state === 'new') fail('the connection was closed');
      if (state === 'connected') note(paint('yellow', `lost the connection to ${url}, reconnecting`, process.stderr));
      if (state === 'connected') state = 'lost';
    });
  });
}

const jsonOf = (entry: LogEntry): string => {
  if (entry.kind === 'line') return JSON.stringify(entry.line);
  const { service, instance, state } = entry;
  return JSON.stringify({ time: Date.now(), service, instance, presence: state });
};

function textOf(entry: LogEntry): string {
  if (entry.kind === 'line')
    return formatLogLine(entry.line, { color: process.stdout.hasColors?.() ?? false, subjectName: SUBJECT_NAME });
  const { service, instance, state } = entry;
  const mark = { online: paint('green', '●'), offline: paint('red', '●'), stopped: paint('dim', '○') }[state];
  return `${mark} ${printable(service)} is ${state} ${paint('dim', `(${printable(instance)})`)}`;
}
