// `sluice failed discard`: a dead message that is right to drop.
import { Command } from '@commander-js/extra-typings';
import { discardRequest } from '../../contracts/operations.ts';
import { jsonOption, matching, printResult, tokenOption, urlOption, wrapped } from '../options.ts';
import { eventId, serviceArgument, withClient } from './options.ts';

const help = `
Example:
  $ sluice failed discard points 019a2b3c-… --reason 'test order'

A discarded message is kept and listed with --status discarded, and no longer counts as a failure. The step of its order
stays failed. 'sluice failed retry' with its id takes the decision back.`;

export const discardCommand = () =>
  new Command('discard')
    .description('drop a dead message: it no longer counts as a failure')
    .addArgument(serviceArgument('service that received it'))
    .argument('<id>', "the event's id", eventId)
    .requiredOption(
      '--reason <text>',
      'why it is dropped, for the record',
      matching(discardRequest.shape.reason, 'It must be 1 to 200 characters.'),
    )
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help))
    .action((service, id, options) =>
      withClient(options, async (messages) => {
        const message = await messages.discard(service, id, options.reason);
        printResult(options.json, { service, ...message }, () => [`${service} ${id}: discarded`]);
      }),
    );
