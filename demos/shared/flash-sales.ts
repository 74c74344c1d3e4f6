// The flash-sale service as the commands meet it, over HTTP.
import { z } from 'zod';
import type { CreateFlashSaleRequest, FlashSale, Ticket } from '../../contracts/flash-sales.ts';
import { instant, uuid } from '../../contracts/text.ts';
import { CliError } from './errors.ts';
import { expectBody, type HttpClient } from './http.ts';

const amount = z.int().min(0);

/** What the commands rely on in an answer. */
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
    rejected: z.looseObject({ queueFull: amount, soldOut: amount, notOpen: amount }),
  }),
}) as unknown as z.ZodType<FlashSale>;

const answeredTicket = z.looseObject({
  status: z.string(),
  orderId: uuid.optional(),
}) as unknown as z.ZodType<Ticket>;

export async function createSale(
  http: HttpClient,
  sale: Omit<CreateFlashSaleRequest, 'holdSeconds'>,
  signal?: AbortSignal,
): Promise<FlashSale> {
  const answer = await http.request('POST', '/flash-sales', { json: sale, signal });
  if (answer.status === 404)
    throw new CliError('the sale was not created: is this a Sluice server that runs the flash-sale service?');
  return expectBody(answer, { status: 201, schema: answeredSale, about: 'the sale was not created' });
}

/** Rejects with a CliError where there is no answer or not this one. */
export async function readSale(http: HttpClient, saleId: string, signal?: AbortSignal): Promise<FlashSale> {
  const answer = await http.request('GET', `/flash-sales/${saleId}`, { signal });
  return expectBody(answer, { status: 200, schema: answeredSale, about: `sale ${saleId}` });
}

export async function readTicket(
  http: HttpClient,
  saleId: string,
  ticketId: string,
  signal: AbortSignal,
): Promise<Ticket> {
  const answer = await http.request('GET', `/flash-sales/${saleId}/purchases/${ticketId}`, { signal });
  return expectBody(answer, { status: 200, schema: answeredTicket, about: `ticket ${ticketId}` });
}
