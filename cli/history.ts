// `sluice history`: what happened to an order, as a table.
import { Command } from '@commander-js/extra-typings';
import { uuid } from '../contracts/text.ts';
import { HttpClient } from '../demos/shared/http.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import { renderHistory } from './history/render.ts';
import { jsonOption, matching, type OptionsOf, printResult, tokenOption, urlOption, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice history 0199c2b0-6a2f-7cc3-9d0e-6f0c7f5d1b21
  $ sluice history 0199c2b0-6a2f-7cc3-9d0e-6f0c7f5d1b21 --json

The times are UTC; the second column has the milliseconds since the first line. The server at --url must serve the
order service. It reads the parts of services in other processes at its SERVICES_URL. The last lines name the services
whose part is missing, and what is no longer stored.`;

const command = () =>
  new Command('history')
    .description('show what happened to an order in all services')
    .argument('<id>', 'id of the order, or of the ticket that it was placed for', matching(uuid, 'It must be a UUID.'))
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));

export const historyCommand = () =>
  command().action((id, options) => untilInterrupted((signal) => showHistory(id, options, signal)));

async function showHistory(id: string, { url, json }: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  const http = new HttpClient(url);
  try {
    const about = `order ${id}`;
    const history = await http.read('GET /orders/:id/history', { params: { id } }, { signal, about });
    printResult(json, history, (result) => renderHistory(result, process.stdout.columns ?? 80));
  } finally {
    await http.close();
  }
}
