// A client of the flash-sale service.
import type { CreateFlashSaleRequest } from '../../contracts/flash-sales.ts';
import { CliError } from './errors.ts';
import { bodyOf, type HttpClient } from './http.ts';

export async function createSale(
  http: HttpClient,
  sale: Omit<CreateFlashSaleRequest, 'holdSeconds'>,
  signal?: AbortSignal,
) {
  const response = await http.call('POST /flash-sales', { body: sale }, { signal });
  if (response.status === 404)
    throw new CliError('the sale was not created: is this a Sluice server that runs the flash-sale service?');
  return bodyOf(response, 201, 'the sale was not created');
}

/** Rejects with a CliError if the server does not respond with the sale. */
export const readSale = (http: HttpClient, saleId: string, signal?: AbortSignal) =>
  http.read('GET /flash-sales/:id', { params: { id: saleId } }, { about: `sale ${saleId}`, signal });

export const readTicket = (http: HttpClient, saleId: string, ticketId: string, signal: AbortSignal) =>
  http.read(
    'GET /flash-sales/:id/purchases/:ticketId',
    { params: { id: saleId, ticketId } },
    { about: `ticket ${ticketId}`, signal },
  );
