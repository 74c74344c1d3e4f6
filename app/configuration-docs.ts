// The documents about the settings, generated from their descriptions in the code. `npm run docs` writes them.
import { describeVariables, renamedVariables, type VariableName } from './config.ts';

/** Settings that most users change come first. */
const sections: Readonly<Record<string, readonly VariableName[]>> = {
  Server: ['HOST', 'PORT', 'MQTT_PORT', 'TLS_CERT', 'TLS_KEY', 'DATA_DIR', 'LOG_LEVEL', 'LOG_FORMAT'],
  'Access control': [
    'AUTH_MODE',
    'JWKS_URL',
    'AUTH_SECRET',
    'AUTH_ISSUER',
    'AUTH_AUDIENCE',
    'AUTH_USER_CLAIM',
    'SERVICE_TOKEN',
    'USER_ORDERS_PER_MINUTE',
    'AUTH_FAILURES_PER_MINUTE',
  ],
  'Names and other sites': ['ALLOWED_HOSTS', 'CORS_ORIGINS'],
  'Reverse proxies': ['BASE_PATH', 'TRUSTED_PROXIES', 'KEEP_ALIVE_MS'],
  'External servers': [
    'DATABASE_URL',
    'MIGRATE',
    'AMQP_URL',
    'EVENT_BUS',
    'BUS_PREFIX',
    'MQTT_URL',
    'REDIS_URL',
    'PAYMENT_URL',
    'SERVICES_URL',
  ],
  'Points and coupons': ['POINTS_PER_MAJOR_UNIT', 'COUPON_PERCENT', 'COUPON_MIN_MAJOR_UNITS', 'COUPON_VALID_DAYS'],
  'Failed messages': ['RETRY_ATTEMPTS', 'RETRY_BASE_MS', 'RETRY_MAX_MS', 'RESEND_AFTER_MS'],
  Timeouts: ['PUBLISH_TIMEOUT_MS', 'PAYMENT_TIMEOUT_MS', 'LEASE_MS', 'WATCHDOG_MS', 'STOP_TIMEOUT_MS'],
  Capacity: [
    'MAX_CONNECTIONS',
    'PREFETCH',
    'EVENTS_PER_MESSAGE',
    'DATABASE_POOL_SIZE',
    'INBOX_RETENTION_DAYS',
    'FAILED_RETENTION_DAYS',
  ],
  'Demonstrations and tests': ['STEP_LATENCY_MS', 'WARM_UP', 'FAILPOINT'],
};

export function settingsBySection() {
  const all = describeVariables();
  return Object.entries(sections).map(([title, names]) => ({
    title,
    settings: names.flatMap((name) => all.filter((each) => each.name === name)),
  }));
}

/** The contents of the generated files, by path below the project's root. */
export const configurationDocs = (): Readonly<Record<string, string>> => ({
  '.env.example': envExample(),
  'docs/configuration.md': configurationPage(),
});

function envExample(): string {
  const head = `# Every setting with its default, written by \`npm run docs\`. \`sluice start\` reads a file named .env in the folder in
# which it starts; variables of the environment take precedence. An unset or empty variable has its default.
`;
  const parts = settingsBySection().flatMap(({ title, settings }) => [
    `## ${title}\n`,
    ...settings.map(
      ({ name, about, allowed, fallback = '' }) => `# ${about}\n# Allowed: ${allowed}.\n#${name}=${fallback}\n`,
    ),
  ]);
  return [head, ...parts].join('\n');
}

function configurationPage(): string {
  const tables = settingsBySection().map(({ title, settings }) => {
    const rows = settings.map(({ name, fallback, about, allowed }) =>
      row(code(name), fallback === undefined ? '' : code(fallback), about, allowed),
    );
    return section(title, ['variable', 'default', 'meaning', 'allowed'], rows);
  });
  const renamed = Object.entries(renamedVariables).map(([former, current]) => row(code(former), code(current)));
  return `# Configuration

<!-- Written by \`npm run docs\` from the settings in the code. Do not edit. -->

Every setting is an environment variable. \`sluice start\` also reads a file named \`.env\` in the folder in which it
starts; variables of the environment take precedence. An unset or empty variable has its default. A value that is not
allowed stops the start with an error that names the variable and says what is allowed.

${tables.join('\n')}
${section('Renamed variables', ['former name', 'name'], renamed)}
The start fails if a former name is set.
`;
}

const section = (title: string, columns: readonly string[], rows: readonly string[]): string =>
  [`## ${title}`, '', row(...columns), row(...columns.map(() => '---')), ...rows, ''].join('\n');

const row = (...cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

const code = (text: string) => `\`${text}\``;
