// `sluice contracts`: writes the documents that describe the system to other programs.
import { join } from 'node:path';
import { Command } from '@commander-js/extra-typings';
import { createFolder, writeOutput } from '../demos/shared/files.ts';
import { type OptionsOf, wrapped } from './options.ts';

const help = `
Examples:
  $ sluice contracts
  $ sluice contracts --out /tmp/contracts

Writes openapi.json (OpenAPI 3.1): all routes, and asyncapi.json (AsyncAPI 3.0): the events, the channels of each event
bus, and the MQTT topics of clients, with the default BUS_PREFIX. A running server describes its own services at
/openapi.json and /asyncapi.json, with its own names, and for people at /docs.`;

const command = () =>
  new Command('contracts')
    .description('write the OpenAPI and AsyncAPI documents of all services')
    .option('--out <folder>', 'folder of the documents, created if it does not exist', 'docs')
    .addHelpText('after', wrapped(help));

export const contractsCommand = () => command().action(run);

async function run({ out }: OptionsOf<typeof command>): Promise<void> {
  // Imported here, because no other command needs it.
  const { contractFiles } = await import('../app/documents/contracts.ts');
  await createFolder(out);
  for (const [name, text] of Object.entries(contractFiles())) await writeOutput(join(out, name), text);
}
