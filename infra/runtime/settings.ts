// Settings: environment variables, described in the modules that use them and parsed together at the start.
import { z } from 'zod';
import { redactUrl, splitUrls, UrlError } from './server-url.ts';

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

/**
 * A URL, or a list of them, that `parse` understands: it throws a UrlError. The value stays text, which the server's
 * client parses in the same way. `allowed` is part of the error message.
 */
export const url = (parse: (text: string) => unknown, allowed: string) =>
  z
    .string()
    .superRefine((value, context) => {
      try {
        parse(value);
      } catch (error) {
        if (!(error instanceof UrlError)) throw error;
        const { message: reason, malformed } = error;
        const example = [`it must be ${allowed}`, reason].filter(Boolean).join('; ');
        context.addIssue({ code: 'custom', message: malformed ? example : reason, params: { explains: true } });
      }
    })
    .meta({ allowed });

/** Up to `max` URLs, separated by commas, each of which `parse` understands. */
export const urls = (parse: (text: string) => unknown, max: number, allowed: string) =>
  url((list) => {
    const each = splitUrls(list);
    if (each.length > max) throw new UrlError(`it has ${each.length} URLs`, true);
    for (const text of each) parse(text);
  }, allowed)
    .transform(splitUrls)
    .meta({ allowed });

export const choice = <const T extends readonly [string, ...string[]]>(...values: T) =>
  z.enum(values).meta({ allowed: `one of: ${values.join(', ')}` });

interface Variable {
  readonly schema: z.ZodType;
  /** Value of an unset variable; undefined: none. */
  readonly fallback?: string;
  /** No message shows its value. */
  readonly secret?: true;
  readonly about: string;
}
export const variable = <S extends z.ZodType>(schema: S, fallback: string, about: string) => ({
  schema,
  fallback,
  about,
});
export const optional = <S extends z.ZodType>(schema: S, about: string) => ({ schema: schema.optional(), about });
export const optionalSecret = <S extends z.ZodType>(schema: S, about: string) => ({
  ...optional(schema, about),
  secret: true as const,
});

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
 * Whether Kubernetes has set the variable: for a service named `mqtt` it sets MQTT_PORT=tcp://10.0.0.7:1883 in every
 * container of the namespace. Such a value is not meant for this program.
 */
export const isInjected = (name: string, value: string | undefined): boolean =>
  /_PORT$/.test(name) && /^(tcp|udp|sctp):\/\//.test(value ?? '');

/**
 * Reads `variables` from `env`; an empty one, and one that Kubernetes has set, counts as unset. Throws a ConfigError with every problem found. `renamed`
 * maps former names to current ones: a former name that is set is a problem.
 */
export function parseSettings<V extends Variables>(
  variables: V,
  env: NodeJS.ProcessEnv,
  renamed: Readonly<Record<string, string>> = {},
): SettingsOf<V> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback, secret }] of Object.entries(variables)) {
    const given = env[name] === '' || isInjected(name, env[name]) ? undefined : env[name];
    const parsed = schema.safeParse(given ?? fallback);
    if (parsed.success) values[name] = parsed.data;
    else {
      const shown = secret ? name : `${name}=${redactUrl(given ?? '')}`;
      problems.push(`${shown} is not allowed: ${reasonFor(parsed.error, schema)}`);
    }
  }
  for (const [former, current] of Object.entries(renamed))
    if (env[former]) problems.push(`${former} is now called ${current}: rename it`);
  if (problems.length > 0) throw new ConfigError(problems);
  return values as SettingsOf<V>;
}

function reasonFor(error: z.ZodError, schema: z.ZodType): string {
  const explained = error.issues.find((issue) => issue.code === 'custom' && issue.params?.explains);
  return explained?.message ?? `it must be ${allowed(schema)}`;
}

function allowed(schema: z.ZodType): string {
  const meta = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType).meta() : schema.meta();
  return meta?.allowed ?? 'a non-empty string';
}

export const describe = (variables: Variables) =>
  Object.entries(variables).map(([name, { schema, secret: _, ...rest }]) => ({
    name,
    allowed: allowed(schema),
    ...rest,
  }));
