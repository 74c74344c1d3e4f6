// Settings: environment variables, described in the modules that use them and parsed together at the start.
import { z } from 'zod';

declare module 'zod' {
  interface GlobalMeta {
    /** The values that a variable may have: a part of its error message. */
    readonly allowed?: string;
  }
}

/** An integer variable; the bounds are part of the error message. */
export const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .meta({ allowed: `an integer from ${min} to ${max}` });

/** Whether `value` is a URL with a user and password that can be decoded: a `%` in them must be written as `%25`. */
function isReadable(value: string): boolean {
  try {
    const { username, password } = new URL(value);
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

export const url = (...protocols: string[]) =>
  z
    .string()
    .refine((value) => protocols.some((protocol) => value.startsWith(`${protocol}://`)) && isReadable(value))
    .meta({ allowed: `a URL such as ${protocols[0]}://user:password@host:port` });

/** The URLs of a list separated by commas. A comma within a URL stays. */
export const splitUrls = (list: string): string[] => list.split(/,\s*(?=[a-z]+:\/\/)/);

/** One URL, or several separated by commas. */
export const urls = (...protocols: string[]) => {
  const one = url(...protocols);
  return (
    z
      .string()
      // URL accepts a host name that contains a comma.
      .refine((value) =>
        splitUrls(value).every((each) => one.safeParse(each).success && !new URL(each).host.includes(',')),
      )
      .meta({ allowed: `${one.meta()?.allowed}, or several separated by commas` })
  );
};

/** The URL of each host in a URL that lists several, such as `postgres://user@one:5432,two:5432/shop`. */
export function hostUrls(list: string): string[] {
  const [, start = '', hosts = '', rest = ''] = /^([a-z]+:\/\/(?:[^/?#]*@)?)([^@/?#]*)(.*)$/s.exec(list) ?? [];
  return hosts.split(',').map((host) => `${start}${host}${rest}`);
}

/** One URL, which may list several hosts. */
export const urlOfHosts = (...protocols: string[]) => {
  const one = url(...protocols);
  return z
    .string()
    .refine((value) => hostUrls(value).every((each) => one.safeParse(each).success))
    .meta({ allowed: `${one.meta()?.allowed}, or with several hosts separated by commas` });
};

export const choice = <const T extends readonly [string, ...string[]]>(...values: T) =>
  z.enum(values).meta({ allowed: `one of: ${values.join(', ')}` });

interface Variable {
  readonly schema: z.ZodType;
  /** Value of an unset variable; undefined: none. */
  readonly fallback?: string;
  readonly about: string;
}
export const variable = <S extends z.ZodType>(schema: S, fallback: string, about: string) => ({
  schema,
  fallback,
  about,
});
export const optional = <S extends z.ZodType>(schema: S, about: string) => ({ schema: schema.optional(), about });

/** Variables by their names. */
export type Variables = Readonly<Record<string, Variable>>;

/** The parsed values of `V`. */
export type SettingsOf<V extends Variables> = { readonly [K in keyof V]: z.output<V[K]['schema']> };

export class ConfigError extends Error {
  /** One sentence per problem, which names the variable. */
  readonly problems: readonly string[];
  override readonly name = 'ConfigError';
  constructor(problems: readonly string[]) {
    super(`configuration: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/**
 * Hides passwords for messages and logs, in each URL of a list: `postgres://me:secret@host` → `postgres://me:***@host`.
 */
export const redactUrl = (list: string): string => splitUrls(list).map(redact).join(',');

function redact(value: string): string {
  // A URL may be invalid because its password is not percent-encoded, so everything up to the last @ is hidden.
  if (!URL.canParse(value)) return value.replace(/(:\/\/[^:/?#@]*):.*@/, '$1:***@');
  const url = new URL(value);
  for (const key of [...url.searchParams.keys()]) if (/password/i.test(key)) url.searchParams.set(key, '***');
  if (url.password === '' && !/password/i.test(url.search)) return value;
  if (url.password !== '') url.password = '***';
  return url.href;
}

/**
 * Reads `variables` from `env`; an empty one counts as unset. Throws a ConfigError with every problem found. `renamed`
 * maps former names to current ones: a former name that is set is a problem.
 */
export function parseSettings<V extends Variables>(
  variables: V,
  env: NodeJS.ProcessEnv,
  renamed: Readonly<Record<string, string>> = {},
): SettingsOf<V> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries(variables)) {
    const given = env[name] === '' ? undefined : env[name];
    const parsed = schema.safeParse(given ?? fallback);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${name}=${redactUrl(given ?? '')} is not allowed: it must be ${allowed(schema)}`);
  }
  for (const [former, current] of Object.entries(renamed))
    if (env[former]) problems.push(`${former} is now called ${current}: rename it`);
  if (problems.length > 0) throw new ConfigError(problems);
  return values as SettingsOf<V>;
}

function allowed(schema: z.ZodType): string {
  const meta = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType).meta() : schema.meta();
  return meta?.allowed ?? 'a non-empty string';
}

export const describe = (variables: Variables) =>
  Object.entries(variables).map(([name, { schema, ...rest }]) => ({ name, allowed: allowed(schema), ...rest }));
