// The AsyncAPI document of this system: GET /asyncapi.json, and docs/asyncapi.json.
import { eventExamples, notificationExample } from '../../contracts/event-examples.ts';
import { eventSchemas } from '../../contracts/events.ts';
import { emissions, narrowed, type ServiceName, SUBJECT_NAME, subscriptions } from '../../contracts/services.ts';
import { notification } from '../../contracts/users.ts';
import type { Bus } from '../../infra/bus/port.ts';
import { asyncApiDocument } from '../../infra/documents/asyncapi/document.ts';
import type { AsyncApiDocument } from '../../infra/documents/asyncapi/types.ts';
import { about } from './about.ts';

const DESCRIPTION = `The events that the services of Sluice exchange, and the messages that clients may read.

Events are CloudEvents 1.0 in structured JSON, at most 64 KiB. They are published at least once, under the same id, and
arrive in any order. Readers ignore fields that they do not know. An event of an unknown type, or one that does not match
its schema, becomes a dead message of the service that received it.

The events travel on one of three buses, which EVENT_BUS selects: RabbitMQ, MQTT, or the local bus, which is the database
that all services share. Notifications, logs, presence and live copies of events are always on MQTT. Every name begins
with BUS_PREFIX.`;

export interface AsyncApiScope {
  readonly services: readonly ServiceName[];
  /** The event buses to describe. */
  readonly buses: readonly Bus['kind'][];
  /** BUS_PREFIX. */
  readonly prefix: string;
}

/** What the services send and receive, with the names that they use under this prefix. */
export const asyncApiOf = ({ services, buses, prefix }: AsyncApiScope): AsyncApiDocument =>
  asyncApiDocument({
    info: about(DESCRIPTION.replaceAll(/([^\n])\n(?=[^\n])/g, '$1 ')),
    topology: { prefix, groups: subscriptions, narrowed },
    services,
    emissions,
    buses,
    catalogue: eventSchemas,
    examples: eventExamples,
    notifications: { service: 'notify', schema: notification, example: notificationExample },
    subjectName: SUBJECT_NAME,
  });
