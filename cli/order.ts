// `sluice order`: places one order and follows its steps.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { idempotencyKey } from '../contracts/idempotency.ts';
import { formatMoney } from '../contracts/money.ts';
import { type Order, type OrderItem, orderItem, type StepName, stepNames } from '../contracts/orders.ts';
import { userId } from '../contracts/text.ts';
import { tokenInUse } from '../demos/shared/credentials.ts';
import { CliError } from '../demos/shared/errors.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import { completedAfterMs, mugs, type Placed, placeOrder, readOrder, sinceAcceptance } from '../demos/shared/orders.ts';
import { duration, paint, print, printable, printJson } from '../demos/shared/terminal.ts';
import { currencyOption, jsonOption, matching, type OptionsOf, tokenOption, urlOption, wrapped } from './options.ts';

const POLL_MS = 50;

const help = `
Examples:
  $ sluice order
  # 2 mugs at 19.99 and a teapot at 42.50
  $ sluice order --user alice --item MUG:2:1999 --item TEAPOT:1:4250
  # run it twice: the second run returns the same order
  $ sluice order --user alice --key 2024-0001

Exit code 1 if the order is not completed within --timeout.`;

const command = () =>
  new Command('order')
    .description('place one order and follow it until its steps are done')
    .addOption(
      new Option('--user <id>', 'user who places the order (default: the user of the token, or guest)').argParser(
        matching(userId),
      ),
    )
    .addOption(currencyOption())
    .addOption(
      new Option(
        '--item <sku:quantity:unitPrice>',
        'item of the order, repeatable; the price is in the minor unit: 1999 is 19.99 GBP',
      )
        .argParser(addItem)
        .default(mugs, 'MUG:3:1999'),
    )
    .option('--key <key>', 'Idempotency-Key (default: a new one)', matching(idempotencyKey))
    .option('--timeout <s>', 'how long to wait for the steps, in seconds', numberBetween(0, 86_400), 30)
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));
type OrderOptions = OptionsOf<typeof command>;

export const orderCommand = () => command().action((options) => untilInterrupted((signal) => order(options, signal)));

function addItem(given: string, before: readonly OrderItem[]): OrderItem[] {
  const items = before === mugs ? [] : before; // the first --item replaces the default
  // The sku may contain colons; the last two parts are the numbers.
  const [, sku = '', quantity, unitPrice] = /^(.*):(\d+):(\d+)$/.exec(given) ?? [];
  const parsed = orderItem.safeParse({ sku, quantity: Number(quantity), unitPrice: Number(unitPrice) });
  if (parsed.success) return [...items, parsed.data];
  throw new InvalidArgumentError(
    'It must be sku:quantity:unitPrice, such as MUG:2:1999: a sku of 1 to 64 characters, a quantity from 1 to ' +
      '1,000,000, and an integer price in the minor unit from 0 to 1,000,000,000.',
  );
}

/** The order's status and its reason. */
function statusOf({ status, payment, cancelReason }: Order): string {
  const reason = payment === 'in-progress' ? 'its payment is in progress' : printable(cancelReason ?? '');
  return reason === '' ? status : `${status} (${reason})`;
}

/** Says where to find the error of a step that failed. */
const hint = ({ steps }: Order): string =>
  Object.values(steps).some(({ status }) => status === 'failed') ? '; `sluice failed list` shows why' : '';

async function order(options: OrderOptions, signal: AbortSignal): Promise<void> {
  const http = new HttpClient(options.url);
  try {
    const placed = await place(http, options, signal);
    if (!options.json) print(renderAcceptance(placed));
    const final = await follow(http, placed.order, options, signal);
    if (options.json) printJson({ replayed: placed.replayed, responseMs: placed.ms, order: final });
    if (final.status === 'cancelled') throw new CliError(`order ${final.id} is ${statusOf(final)}`);
    if (final.status !== 'completed')
      throw new CliError(
        `order ${final.id} is not completed after ${options.timeout} s: its status is ${statusOf(final)}${hint(final)}`,
      );
    if (!options.json) print(`completed ${duration(completedAfterMs(final))} after acceptance`);
  } finally {
    await http.close();
  }
}

async function place(http: HttpClient, options: OrderOptions, signal: AbortSignal): Promise<Placed> {
  const key = options.key ?? randomUUID();
  const { currency, item: items } = options;
  const userId = options.user ?? (await userOfSession(http, signal)) ?? 'guest';
  const outcome = await placeOrder(http, { userId, currency, items: [...items] }, { key, signal });
  if (outcome.kind === 'placed') return outcome;
  if (outcome.kind === 'rejected')
    throw new CliError(`the order was rejected: ${[outcome.title, outcome.detail].filter(Boolean).join(': ')}`);
  const retry = outcome.unknown ? `; the order may have been placed, so retry with --key '${key}'` : '';
  throw new CliError(`${outcome.reason}${retry}`);
}

/** The user of the token, if there is one. */
async function userOfSession(http: HttpClient, signal: AbortSignal): Promise<string | undefined> {
  if (tokenInUse() === undefined) return undefined;
  const { userId } = await http.read('GET /session', {}, { signal, about: 'the session' });
  return userId ?? undefined;
}

function renderAcceptance({ order, replayed, ms }: Placed): string {
  const { id, total, currency, userId } = order;
  const verb = replayed ? 'already placed, returned' : 'accepted';
  return `order ${paint('bold', id)}, ${formatMoney(total, currency)} for ${userId}: ${verb} in ${ms.toFixed(1)} ms`;
}

/**
 * Prints each step as it ends. Resolves with the order once it is completed or cancelled, or with its last state at the
 * timeout. A read that fails before the timeout is retried, because the order itself is safe.
 */
async function follow(http: HttpClient, placed: Order, options: OrderOptions, signal: AbortSignal): Promise<Order> {
  const deadline = performance.now() + options.timeout * 1_000;
  const shown = new Map<string, string>();
  for (let order = placed; ; ) {
    for (const name of stepNames) {
      const { status } = order.steps[name];
      if (status === 'pending' || shown.get(name) === status) continue;
      shown.set(name, status);
      if (!options.json) print(renderStep(order, name));
    }
    const ended = order.status === 'completed' || order.status === 'cancelled';
    if (ended || performance.now() >= deadline) return order;
    await sleep(POLL_MS, undefined, { signal });
    order = await readOrder(http, placed.id, signal).catch((error) => {
      if (error instanceof CliError && performance.now() < deadline) return order;
      throw error;
    });
  }
}

const stepColors = { pending: 'dim', failed: 'red', done: 'green', skipped: 'yellow', reverted: 'yellow' } as const;

function renderStep(order: Order, name: StepName): string {
  const { status, at, detail } = order.steps[name];
  const shown = paint(stepColors[status], status.padEnd(8));
  const time = at === undefined ? '' : `+${duration(sinceAcceptance(order, at))}`;
  return `  ${name.padEnd(12)}  ${shown}  ${time.padStart(9)}  ${printable(detail ?? '')}`.trimEnd();
}
