// The flash-sale service as the simulator meets it, over HTTP: what it creates, and the books it reads.
import { z } from 'zod';
import type { CreateFlashSaleRequest, FlashSale, Ticket } from '../../contracts/flash-sales.ts';
import { instant, uuid } from '../../contracts/text.ts';
import { CliError } from '../shared/errors.ts';
import { type HttpAnswer, type HttpClient, problemOf } from '../shared/http.ts';

const amount = z.int().min(0);

/** What the simulator relies on in an answer. */
const answeredSale = z.looseObject({
  id: uuid,
  opensAt: instant,
  status: z.string(),
  stock: z.looseObject({ initial: amount, remaining: z.int(), held: z.int(), sold: z.int() }),
  queue: z.looseObject({ length: z.int(), cap: amount }),
  counts: z.looseObject({
    admitted: amount,
    ordered: amount,
    released: amount,
    refused: z.looseObject({ queueFull: amount, soldOut: amount, notOpen: amount }),
  }),
});

const answeredTicket = z.looseObject({ status: z.string(), orderId: uuid.optional() });

export async function createSale(
  http: HttpClient,
  sale: Omit<CreateFlashSaleRequest, 'holdSeconds'>,
  signal: AbortSignal,
): Promise<FlashSale> {
  const answer = await http.request('POST', '/flash-sales', { json: sale, signal });
  if (answer.status === 201) return parse<FlashSale>(answeredSale, answer, 'a flash sale');
  const { title, detail } = problemOf(answer);
  const hint =
    answer.status === 404 ? ': is that URL a Sluice that runs the flash-sale service?' : detail ? `: ${detail}` : '';
  throw new CliError(`the sale was not created: ${answer.status} ${title}${hint}`);
}

/** Rejects with a CliError where there is no answer or not this one. */
export async function readSale(http: HttpClient, saleId: string, signal: AbortSignal): Promise<FlashSale> {
  const answer = await http.request('GET', `/flash-sales/${saleId}`, { signal });
  if (answer.status === 200) return parse<FlashSale>(answeredSale, answer, 'a flash sale');
  throw new CliError(`the sale could not be read: ${answer.status} ${problemOf(answer).title}`);
}

export async function readTicket(
  http: HttpClient,
  saleId: string,
  ticketId: string,
  signal: AbortSignal,
): Promise<Ticket> {
  const answer = await http.request('GET', `/flash-sales/${saleId}/purchases/${ticketId}`, { signal });
  if (answer.status === 200) return parse<Ticket>(answeredTicket, answer, 'a ticket');
  throw new CliError(`ticket ${ticketId} could not be read: ${answer.status} ${problemOf(answer).title}`);
}

function parse<T>(schema: z.ZodType, { body }: HttpAnswer, what: string): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return body as T;
  const { path, message } = parsed.error.issues[0] ?? { path: [], message: '' };
  throw new CliError(`the answer is not ${what} (${path.join('.') || 'body'}: ${message}): is that URL a Sluice?`);
}
