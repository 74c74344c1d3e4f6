// A client of the flash-sale service.
import {
  type CreateFlashSaleRequest,
  type FlashSale,
  flashSale,
  type Ticket,
  ticket,
} from '../../contracts/flash-sales.ts';
import { CliError } from './errors.ts';
import { expectBody, type HttpClient } from './http.ts';

export async function createSale(
  http: HttpClient,
  sale: Omit<CreateFlashSaleRequest, 'holdSeconds'>,
  signal?: AbortSignal,
): Promise<FlashSale> {
  const response = await http.request('POST', '/flash-sales', { json: sale, signal });
  if (response.status === 404)
    throw new CliError('the sale was not created: is this a Sluice server that runs the flash-sale service?');
  return expectBody(response, { status: 201, schema: flashSale, about: 'the sale was not created' });
}

/** Rejects with a CliError if the server does not respond with the sale. */
export async function readSale(http: HttpClient, saleId: string, signal?: AbortSignal): Promise<FlashSale> {
  const response = await http.request('GET', `/flash-sales/${saleId}`, { signal });
  return expectBody(response, { status: 200, schema: flashSale, about: `sale ${saleId}` });
}

export async function readTicket(
  http: HttpClient,
  saleId: string,
  ticketId: string,
  signal: AbortSignal,
): Promise<Ticket> {
  const response = await http.request('GET', `/flash-sales/${saleId}/purchases/${ticketId}`, { signal });
  return expectBody(response, { status: 200, schema: ticket, about: `ticket ${ticketId}` });
}
