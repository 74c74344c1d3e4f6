// The local bus in an AsyncAPI document: no broker, so its channels have no address.
import { messagesOf, operation, receiversOf, sendersOf, typesIn } from './parts.ts';
import type { Channel, Operation, Part, Scope } from './types.ts';

/** For a service that receives only some events of the type. */
function onlySome({ topology: { narrowed } }: Scope, service: string, type: string): Pick<Operation, 'description'> {
  const key = narrowed?.[service]?.[type];
  return key === undefined ? {} : { description: `Only the events that have the routing key ${key} on RabbitMQ.` };
}

export function localBus(scope: Scope): Part {
  const channels: Record<string, Channel> = {};
  const operations: Record<string, Operation> = {};
  for (const type of typesIn(scope)) {
    const name = `local.${type}`;
    const channel: Channel = {
      address: null,
      title: `${type} on the local bus`,
      description:
        'All services share one database. The relay of the sender hands the event to the inbox of each subscriber: in ' +
        'memory if the subscriber runs in the same process, otherwise as a row of its table `inbox`. The event leaves ' +
        'the outbox once every inbox has stored it. No program but the services can send or receive it.',
      messages: messagesOf([type]),
    };
    channels[name] = channel;
    for (const service of sendersOf(scope, type))
      operations[`local.${service}.send.${type}`] = operation('send', service, [name, channel], {
        title: `${service} sends ${type}`,
      });
    for (const service of receiversOf(scope, type))
      operations[`local.${service}.receive.${type}`] = operation('receive', service, [name, channel], {
        title: `${service} receives ${type}`,
        ...onlySome(scope, service, type),
      });
  }
  return { servers: {}, channels, operations };
}
