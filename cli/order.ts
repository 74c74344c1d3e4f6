// `sluice order`: places one order and watches what happens because of it.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { formatMoney } from '../contracts/money.ts';
import { idempotencyKey, type Order, type OrderItem, type StepName, stepNames } from '../contracts/orders.ts';
import { CliError } from '../demos/shared/errors.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { numberBetween } from '../demos/shared/number-option.ts';
import {
  completedAfterMs,
  mugs,
  orderItem,
  type Placed,
  placeOrder,
  readOrder,
  sinceAcceptance,
} from '../demos/shared/orders.ts';
import { duration, paint, print, printable, printJson } from '../demos/shared/terminal.ts';
import { currencyOption, jsonOption, urlOption, userOption } from './options.ts';

interface OrderOptions {
  readonly url: string;
  readonly user: string;
  readonly currency: string;
  readonly item: readonly OrderItem[];
  readonly key?: string;
  readonly timeout: number;
  readonly json?: true;
}

const POLL_MS = 50;

const examples = `
Examples:
  $ sluice order
  $ sluice order --user alice --item MUG:2:1999 --item TEAPOT:1:4250   2 mugs at 19.99 and a teapot at 42.50
  $ sluice order --user alice --key 2024-0001                          asked again, the same key answers the same order`;

export const orderCommand = () =>
  new Command('order')
    .description('place one order and follow it until its steps are done')
    .addOption(userOption())
    .addOption(currencyOption())
    .addOption(
      new Option('--item <sku:quantity:unitPrice>', 'repeatable; the price in the minor unit: 1999 is 19.99 GBP')
        .argParser(addItem)
        .default(mugs, 'MUG:3:1999'),
    )
    .option('--key <key>', 'Idempotency-Key (default: a new one)', parseKey)
    .option('--timeout <s>', 'how long to wait for the steps', numberBetween(0, 86_400), 30)
    .addOption(urlOption())
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action((options: OrderOptions) => untilInterrupted((signal) => order(options, signal)));

function addItem(given: string, before: readonly OrderItem[]): OrderItem[] {
  const items = before === mugs ? [] : before;
  // The sku may contain colons; the numbers are the last two parts.
  const [, sku = '', quantity, unitPrice] = /^(.*):(\d+):(\d+)$/.exec(given) ?? [];
  const parsed = orderItem.safeParse({ sku, quantity: Number(quantity), unitPrice: Number(unitPrice) });
  if (parsed.success) return [...items, parsed.data];
  throw new InvalidArgumentError(
    'It must be sku:quantity:unitPrice, such as MUG:2:1999: a sku of 1 to 64 characters, a quantity from 1 to 1,000,000, ' +
      'and an integer price in the minor unit from 0 to 1,000,000,000.',
  );
}

function parseKey(given: string): string {
  if (idempotencyKey.safeParse(given).success) return given;
  throw new InvalidArgumentError('It must be 1 to 255 printable ASCII characters.');
}

/** The order's status, with what explains it. */
function standing({ status, payment, cancelReason }: Order): string {
  const because = payment === 'in-progress' ? 'its payment is in progress' : printable(cancelReason ?? '');
  return because === '' ? status : `${status} (${because})`;
}

/** Where to look for a step that is not done because its service fails. */
const hint = ({ steps }: Order): string =>
  Object.values(steps).some(({ status }) => status === 'failed') ? '; `sluice failed` lists why' : '';

async function order(options: OrderOptions, signal: AbortSignal): Promise<void> {
  const http = new HttpClient(options.url);
  try {
    const placed = await place(http, options, signal);
    if (!options.json) for (const line of renderAcceptance(placed)) print(line);
    const final = await follow(http, placed.order, options, signal);
    if (options.json) printJson({ replayed: placed.replayed, answeredInMs: placed.ms, order: final });
    if (final.status === 'cancelled') throw new CliError(`order ${final.id} is ${standing(final)}${hint(final)}`);
    if (final.status !== 'completed')
      throw new CliError(
        `order ${final.id} is ${standing(final)}, not completed, after ${options.timeout} s${hint(final)}`,
      );
    if (!options.json) print(`completed ${duration(completedAfterMs(final))} after acceptance`);
  } finally {
    await http.close();
  }
}

async function place(http: HttpClient, options: OrderOptions, signal: AbortSignal): Promise<Placed> {
  const key = options.key ?? randomUUID();
  const { user: userId, currency, item: items } = options;
  const answer = await placeOrder(http, { userId, currency, items: [...items] }, { key, signal });
  if (answer.kind === 'placed') return answer;
  if (answer.kind === 'rejected')
    throw new CliError(`the order was rejected: ${[answer.title, answer.detail].filter(Boolean).join(': ')}`);
  const again = answer.unknown ? `; whether it was placed is unknown, ask again with --key '${key}'` : '';
  throw new CliError(`${answer.reason}${again}`);
}

function renderAcceptance({ order, replayed, ms }: Placed): string[] {
  const { id, total, currency, userId } = order;
  const verb = replayed ? 'was there already, answered' : 'answered';
  return [`order ${paint('bold', id)}, ${formatMoney(total, currency)} for ${userId}: ${verb} in ${ms.toFixed(1)} ms`];
}

/**
 * Shows each step as it ends; resolves with the order once it is completed or cancelled, or as it was last seen when
 * the time is over. A read that fails meanwhile is tried again: the order itself is safe.
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
  const time = at === undefined ? '' : `+${duration(sinceAcceptance(order, at))}`;
  const cells = [
    name.padEnd(12),
    paint(stepColors[status], status.padEnd(8)),
    time.padStart(9),
    printable(detail ?? ''),
  ];
  return `  ${cells.join('  ')}`.trimEnd();
}
