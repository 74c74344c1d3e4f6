// Calls between two threads: each side calls the other's functions by name. Calls and results that are sent one right
// after another cross in one message. Arguments and results are structured clones: a Buffer arrives as a Uint8Array.
import type { MessagePort, Worker } from 'node:worker_threads';

// biome-ignore lint/suspicious/noExplicitAny: functions of any arguments
export type Functions = Readonly<Record<string, (...args: any[]) => unknown>>;

type Message =
  | { readonly call: string; readonly args: readonly unknown[]; readonly id: number }
  | { readonly result: unknown; readonly id: number }
  | { readonly error: EncodedError; readonly id: number };

interface EncodedError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: unknown;
}

/** Classes of errors that arrive as instances of the same class, with `message`, `code` and `stack`. */
export type ErrorClasses = readonly (abstract new (...args: never[]) => Error)[];

export interface ThreadCallsOptions {
  readonly port: MessagePort | Worker;
  /** The functions that the other thread may call. */
  readonly functions: Functions;
  readonly errors: ErrorClasses;
}

export class ThreadCalls<Theirs extends Functions> {
  readonly #options: ThreadCallsOptions;
  readonly #classes: ReadonlyMap<string, ErrorClasses[number]>;
  readonly #calls = new Map<number, { resolve: (result: never) => void; reject: (error: unknown) => void }>();
  #lastId = 0;
  #outgoing: Message[] = [];
  #ended: Error | undefined;

  constructor(options: ThreadCallsOptions) {
    this.#options = options;
    this.#classes = new Map(options.errors.map((each) => [each.name, each]));
    options.port.on('message', (messages: readonly Message[]) => {
      for (const message of messages) this.#receive(message);
    });
  }

  /** Settles like the other thread's function. Rejects also if the other thread ends first. */
  call<Name extends keyof Theirs & string>(
    name: Name,
    ...args: Parameters<Theirs[Name]>
  ): Promise<Awaited<ReturnType<Theirs[Name]>>> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#lastId;
    this.#send({ call: name, args, id });
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  /** The other thread has ended: calls reject. */
  end(error: Error): void {
    this.#ended = error;
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  #send(message: Message): void {
    this.#outgoing.push(message);
    if (this.#outgoing.length > 1) return;
    queueMicrotask(() => {
      const messages = this.#outgoing;
      this.#outgoing = [];
      if (!this.#ended) this.#options.port.postMessage(messages);
    });
  }

  #receive(message: Message): void {
    const { id } = message;
    if ('call' in message) {
      void this.#run(message.call, message.args).then(
        (result) => this.#send({ result, id }),
        (error) => this.#send({ error: encoded(error), id }),
      );
      return;
    }
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if ('error' in message) call?.reject(this.#decoded(message.error));
    else call?.resolve(message.result as never);
  }

  async #run(name: string, args: readonly unknown[]): Promise<unknown> {
    const called = this.#options.functions[name];
    if (!called) throw new Error(`the other thread has no function ${name}`);
    return called(...args);
  }

  #decoded({ name, message, stack, code }: EncodedError): Error {
    const error = Object.assign(new Error(message), { stack, name, ...(code === undefined ? {} : { code }) });
    const known = this.#classes.get(name);
    return known ? Object.setPrototypeOf(error, known.prototype as object) : error;
  }
}

function encoded(error: unknown): EncodedError {
  if (!(error instanceof Error)) return encoded(new Error(String(error)));
  const { name, message, stack, code } = error as Error & { code?: unknown };
  return { name, message, stack, code };
}
