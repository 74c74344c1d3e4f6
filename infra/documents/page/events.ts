// The messages, channels and servers of an AsyncAPI 3.0 document.
import { html, type Markup } from '../../http/html.ts';
import { anchorOf, entriesOf, listOf, type Node, nodeOf, refName, resolve, type Source, textOf } from './node.ts';
import { schemaTree } from './schema.ts';
import { commas, examples, extensions, facts, type Group, grouped, inline, plain, prose } from './text.ts';

const messageAnchor = (name: string): string => anchorOf('events', 'message', name);
const channelAnchor = (name: string): string => anchorOf('events', 'channel', name);
const serverAnchor = (name: string): string => anchorOf('events', 'server', name);

const link = (anchor: string, text: string): Markup => html`<a href="#${anchor}">${text}</a>`;

/** The anchor of a schema: that of the message whose payload it is, or one of its own. */
export function schemaAnchors(document: Node): (name: string) => string {
  const messages = entriesOf(nodeOf(document.components).messages).flatMap(([name, message]) => {
    const payload = refName(nodeOf(message).payload);
    return payload === undefined ? [] : [[payload, name] as const];
  });
  const messageOf = new Map(messages);
  return (name) => {
    const message = messageOf.get(name);
    return message === undefined ? anchorOf('events', 'schema', name) : messageAnchor(message);
  };
}

/** The name of the channel or server that a reference leads to, and of the message that a channel holds. */
const namesOf = (refs: unknown): string[] => listOf(refs).flatMap((each) => refName(each) ?? []);
const channelOf = (operation: Node): string => refName(operation.channel) ?? '';
const services = (operation: Node): string[] => listOf(operation.tags).flatMap((tag) => textOf(nodeOf(tag).name) ?? []);

/** The messages, by content type. */
export function messageGroups(source: Source): Group[] {
  const operations = entriesOf(source.document.operations).map(([, operation]) => nodeOf(operation));
  const channels = entriesOf(source.document.channels);
  const entries = entriesOf(nodeOf(source.document.components).messages).map(([name, value]) => {
    const message = nodeOf(value);
    const uses = operations.filter((operation) => namesOf(operation.messages).includes(name));
    const by = (action: string) => [
      ...new Set(uses.filter((operation) => operation.action === action).flatMap(services)),
    ];
    const places = channels.filter(([, channel]) => nodeOf(nodeOf(channel).messages)[name] !== undefined);
    const shown = {
      id: messageAnchor(name),
      heading: html`<code>${textOf(message.name) ?? name}</code> <span class="quiet">${textOf(message.title)}</span>`,
      body: html`${textOf(message.summary) !== undefined && html`<p>${inline(textOf(message.summary) ?? '')}</p>`}
${prose(message.description)}
${facts([...named('Sent by', by('send')), ...named('Received by', by('receive')), ['Content type', message.contentType]])}
${
  places.length > 0 &&
  html`<details><summary>Channels</summary>
<p>${commas(places.map(([channel, its]) => link(channelAnchor(channel), textOf(nodeOf(its).address) ?? channel)))}</p></details>
`
}
${schemaTree(payloadOf(message, source), source)}
${examples(message, source.document)}`,
    };
    return [textOf(message.contentType) ?? 'Any content', shown] as const;
  });
  return grouped(entries);
}

const named = (name: string, values: readonly string[]): (readonly [string, unknown])[] =>
  values.length > 0 ? [[name, values]] : [];

/** The schema itself, because the message is the place that references to it lead to. */
const payloadOf = ({ payload }: Node, { document }: Source): unknown =>
  refName(payload) === undefined ? payload : resolve(document, payload);

/** The channels, by the protocol of their servers. */
export function channelGroups({ document }: Source): Group[] {
  const operations = entriesOf(document.operations).map(([, operation]) => nodeOf(operation));
  const entries = entriesOf(document.channels).map(([name, value]) => {
    const channel = nodeOf(value);
    const messages = Object.keys(nodeOf(channel.messages));
    const protocol = textOf(resolve(document, listOf(channel.servers)[0]).protocol);
    const shown = {
      id: channelAnchor(name),
      heading: html`<code>${textOf(channel.address) ?? name}</code> <span class="quiet">${textOf(channel.title)}</span>`,
      body: html`${prose(channel.description)}
<p>Messages: ${commas(messages.map((message) => link(messageAnchor(message), message)))}</p>
${serversOf(channel)}
${parametersOf(channel)}
${facts([...bindingsOf(channel), ...extensions(channel)])}
<ul>
${operations.filter((operation) => channelOf(operation) === name).map(operationLine)}</ul>`,
    };
    return [protocol ?? 'Without a server', shown] as const;
  });
  return grouped(entries);
}

const serversOf = ({ servers }: Node): Markup | false => {
  const names = namesOf(servers);
  return names.length > 0 && html`<p>Servers: ${commas(names.map((name) => link(serverAnchor(name), name)))}</p>`;
};

const parametersOf = ({ parameters }: Node): Markup | false => {
  const lines = entriesOf(parameters).map(([name, value]) => {
    const { description, enum: values } = nodeOf(value);
    const allowed = listOf(values).map((each) => html`<code>${plain(each)}</code>`);
    return html`<li><code class="name">${name}</code>: ${inline(textOf(description) ?? '')} ${allowed.length > 0 && html`One of ${commas(allowed)}.`}</li>
`;
  });
  return (
    lines.length > 0 &&
    html`<h5>Parameters</h5>
<ul class="tree">
${lines}</ul>`
  );
};

/** Without their own versions, which say nothing about the system. */
const bindingsOf = ({ bindings }: Node): (readonly [string, unknown])[] =>
  entriesOf(bindings).map(([protocol, binding]) => {
    const { bindingVersion: _, ...rest } = nodeOf(binding);
    return [protocol, rest];
  });

const operationLine = (operation: Node): Markup =>
  html`<li>${inline(textOf(operation.title) ?? `${services(operation).join(', ')}: ${textOf(operation.action)}`)}. ${prose(operation.description)}${facts(bindingsOf(operation))}</li>
`;

/** The servers, by protocol. */
export function serverGroups({ document }: Source): Group[] {
  const entries = entriesOf(document.servers).map(([name, value]) => {
    const server = nodeOf(value);
    const variables = entriesOf(server.variables).map(([variable, its]) => {
      const { default: fallback, description } = nodeOf(its);
      return html`<li><code class="name">${variable}</code>: ${inline(textOf(description) ?? '')} Default <code>${textOf(fallback)}</code>.</li>
`;
    });
    const address = `${textOf(server.protocol)}://${textOf(server.host)}${textOf(server.pathname) ?? ''}`;
    const shown = {
      id: serverAnchor(name),
      heading: html`<code>${name}</code> <span class="quiet">${address}</span>`,
      body: html`${prose(server.description)}
${facts([['Protocol version', server.protocolVersion], ...bindingsOf(server)])}
${
  variables.length > 0 &&
  html`<ul class="tree">
${variables}</ul>`
}`,
    };
    return [textOf(server.protocol) ?? '', shown] as const;
  });
  return grouped(entries);
}
