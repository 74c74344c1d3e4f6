// A client of the flash-sale service.
import { type CreateFlashSaleRequest, flashSale, ticket } from '../../contracts/flash-sales.ts';
import { CliError } from './errors.ts';
import { expectBody, type HttpClient } from './http.ts';

export async function createSale(
  http: HttpClient,
  sale: Omit<CreateFlashSaleRequest, 'holdSeconds'>,
  signal?: AbortSignal,
) {
  const response = await http.request('POST', '/flash-sales', { json: sale, signal });
  if (response.status === 404)
    throw new CliError('the sale was not created: is this a Sluice server that runs the flash-sale service?');
  return expectBody(response, { status: 201, schema: flashSale, about: 'the sale was not created' });
}

/** Rejects with a CliError if the server does not respond with the sale. */
export const readSale = (http: HttpClient, saleId: string, signal?: AbortSignal) =>
  http.read(`/flash-sales/${saleId}`, { schema: flashSale, about: `sale ${saleId}`, signal });

export const readTicket = (http: HttpClient, saleId: string, ticketId: string, signal: AbortSignal) =>
  http.read(`/flash-sales/${saleId}/purchases/${ticketId}`, { schema: ticket, about: `ticket ${ticketId}`, signal });
