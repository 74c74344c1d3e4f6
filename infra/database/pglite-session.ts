// PostgreSQL's extended query protocol (PostgreSQL documentation, 53.2.3) over PGlite's one session.
//
// PGlite's own query() prepares each statement anew and crosses into WebAssembly six times for it, and planning is most
// of the cost of a small statement. Here a statement is prepared once, and then bound and executed in one crossing, as
// pg does with named statements.
import { type PGlite, protocol } from '@electric-sql/pglite';
import { parserOf, type Session } from './statements.ts';

interface Column {
  readonly name: string;
  readonly parse: (text: string) => unknown;
}

export class PgliteSession implements Session {
  readonly #pglite: PGlite;
  /** By text; the texts are the program's own, so there are few. */
  readonly #prepared = new Map<string, { readonly name: string; readonly columns: readonly Column[] }>();
  #logPosition: string | undefined;

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  async query<Row extends object>(text: string, params: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#run(text, params)).rows as Row[];
  }

  async execute(text: string, params: readonly unknown[] = []): Promise<number> {
    return Number(/\d+$/.exec((await this.#run(text, params)).tag)?.[0] ?? 0);
  }

  /** See Database.logPosition(); undefined once another statement has run: the loops that poll share one read. */
  get knownLogPosition(): string | undefined {
    return this.#logPosition;
  }

  async readLogPosition(): Promise<string | undefined> {
    const [row] = await this.query<{ position: string }>('SELECT pg_current_wal_insert_lsn()::text AS position');
    this.#logPosition = row?.position;
    return this.#logPosition;
  }

  async script(text: string): Promise<void> {
    await this.command(text);
  }

  async rollback(): Promise<void> {
    if (this.#pglite.isInTransaction()) await this.command('ROLLBACK');
  }

  /** Runs statements without parameters; resolves with the last one's tag. */
  async command(text: string): Promise<string> {
    return (await this.#exchange(protocol.serialize.query(text), [])).tag;
  }

  async #run(text: string, params: readonly unknown[]) {
    const { serialize } = protocol;
    const { name, columns } = this.#prepared.get(text) ?? (await this.#prepare(text));
    const bind = serialize.bind({ statement: name, values: params.map(toText) });
    return this.#exchange(Buffer.concat([bind, serialize.execute({}), serialize.sync()]), columns);
  }

  async #prepare(text: string) {
    const { serialize } = protocol;
    const name = `s${this.#prepared.size}`;
    const { messages } = await this.#pglite.execProtocol(
      Buffer.concat([serialize.parse({ name, text }), serialize.describe({ type: 'S', name }), serialize.sync()]),
    );
    const description = messages.find((message) => message instanceof protocol.messages.RowDescriptionMessage);
    const fields = description?.fields ?? [];
    const columns = fields.map((field) => ({ name: field.name, parse: parserOf(field.dataTypeID) }));
    const prepared = { name, columns };
    this.#prepared.set(text, prepared);
    return prepared;
  }

  /** `tag`: such as `INSERT 0 5`, `UPDATE 5`, `CREATE TABLE`. */
  async #exchange(message: Uint8Array, columns: readonly Column[]) {
    const { DataRowMessage, CommandCompleteMessage } = protocol.messages;
    this.#logPosition = undefined;
    const rows: object[] = [];
    let tag = '';
    for (const reply of (await this.#pglite.execProtocol(message)).messages) {
      if (reply instanceof DataRowMessage) rows.push(rowOf(columns, reply.fields));
      else if (reply instanceof CommandCompleteMessage) tag = reply.text;
    }
    return { rows, tag };
  }
}

function rowOf(columns: readonly Column[], fields: readonly (string | null)[]): object {
  const row: Record<string, unknown> = {};
  for (const [index, { name, parse }] of columns.entries()) {
    const field = fields[index] ?? null;
    row[name] = field === null ? null : parse(field);
  }
  return row;
}

/** A parameter in PostgreSQL's text format. The caller passes JSON as text (see port.ts). */
function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return `{${value.map(arrayElement).join(',')}}`;
  throw new TypeError(`a parameter may not be of type ${typeof value}: pass JSON as text`);
}

/** Quoted, so that commas, braces, quotes and the word NULL stand for themselves. */
function arrayElement(value: unknown): string {
  const text = toText(value);
  return text === null ? 'NULL' : `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
