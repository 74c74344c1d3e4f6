// Helpers of the parts of an AsyncAPI document.
import { typesOf } from '../../bus/topology.ts';
import type { Channel, Operation, Part, Ref, Scope } from './types.ts';

export const BATCH_MESSAGE = 'batch';

export const ref = (...path: readonly string[]): Ref => ({ $ref: `#/${path.join('/')}` });
export const serverRef = (name: string): Ref => ref('servers', name);

/** The messages of a channel, by the names of the components. */
export const messagesOf = (names: readonly string[]): Channel['messages'] =>
  Object.fromEntries(names.map((name) => [name, ref('components', 'messages', name)]));

/** An operation of a service with all messages of a channel. */
export function operation(
  action: Operation['action'],
  service: string,
  [name, { messages }]: readonly [name: string, channel: Channel],
  more: Pick<Operation, 'title'> & Partial<Operation>,
): Operation {
  const refs = Object.keys(messages).map((message) => ref('channels', name, 'messages', message));
  return { action, channel: ref('channels', name), tags: [{ name: service }], messages: refs, ...more };
}

/** The types of the events that the document's services send or receive, in the order of the topology. */
export function typesIn({ topology, services, emissions }: Scope): string[] {
  return [...new Set(services.flatMap((service) => [...emittedBy(emissions, service), ...typesOf(topology, service)]))];
}

export const emittedBy = (emissions: Scope['emissions'], service: string): readonly string[] =>
  emissions[service] ?? [];

/** The document's services that send events of a type. */
export const sendersOf = ({ services, emissions }: Scope, type: string): string[] =>
  services.filter((service) => emittedBy(emissions, service).includes(type));

/** The document's services that receive events of a type. */
export const receiversOf = ({ topology, services }: Scope, type: string): string[] =>
  services.filter((service) => typesOf(topology, service).includes(type));

export const joined = (parts: readonly Part[]): Part => ({
  servers: Object.assign({}, ...parts.map(({ servers }) => servers)) as Part['servers'],
  channels: Object.assign({}, ...parts.map(({ channels }) => channels)) as Part['channels'],
  operations: Object.assign({}, ...parts.map(({ operations }) => operations)) as Part['operations'],
});
