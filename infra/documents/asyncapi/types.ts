// The parts of an AsyncAPI 3.0 document that this project writes: https://www.asyncapi.com/docs/reference/specification/v3.0.0
import type { Topology } from '../../bus/topology.ts';
import type { JsonSchema } from '../json-schema.ts';

export interface Ref {
  readonly $ref: string;
}

export interface Server {
  readonly host: string;
  readonly pathname?: string;
  readonly protocol: 'amqp' | 'mqtt' | 'ws';
  readonly protocolVersion: string;
  readonly description: string;
  readonly variables: Readonly<Record<string, { readonly default: string; readonly description: string }>>;
  readonly bindings?: object;
}

export interface Channel {
  /** Null: the messages travel without an address that a client could use. */
  readonly address: string | null;
  readonly title: string;
  readonly description: string;
  readonly servers?: readonly Ref[];
  readonly parameters?: Readonly<Record<string, { readonly description: string; readonly enum?: readonly string[] }>>;
  readonly messages: Readonly<Record<string, Ref>>;
  readonly bindings?: object;
  /** Extensions: the arguments and the binding keys of a queue, which the AMQP bindings have no place for. */
  readonly 'x-queue-arguments'?: object;
  readonly 'x-binding-keys'?: readonly string[];
}

export interface Operation {
  readonly action: 'send' | 'receive';
  readonly channel: Ref;
  readonly title: string;
  readonly description?: string;
  readonly messages: readonly Ref[];
  /** The service that sends or receives. */
  readonly tags: readonly { readonly name: string }[];
  readonly bindings?: object;
}

export interface Message {
  readonly name: string;
  readonly title: string;
  readonly summary?: string;
  readonly description?: string;
  readonly contentType: string;
  readonly payload: JsonSchema;
  readonly examples?: readonly { readonly name: string; readonly payload: unknown }[];
}

/** What a bus, or a group of topics, adds to a document. */
export interface Part {
  readonly servers: Readonly<Record<string, Server>>;
  readonly channels: Readonly<Record<string, Channel>>;
  readonly operations: Readonly<Record<string, Operation>>;
}

export interface AsyncApiDocument extends Part {
  readonly asyncapi: '3.0.0';
  readonly info: DocumentInfo;
  readonly defaultContentType: string;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly messages: Readonly<Record<string, Message>>;
  };
}

export interface DocumentInfo {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  readonly license?: { readonly name: string; readonly url?: string };
}

/** The services of a document, which are groups of the topology, and the types of the events that each sends. */
export interface Scope {
  readonly topology: Topology;
  readonly services: readonly string[];
  readonly emissions: Readonly<Record<string, readonly string[]>>;
}
