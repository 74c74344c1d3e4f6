// `sluice failed`: lists, groups, shows, retries and discards messages that a service could not handle.
import { Command } from '@commander-js/extra-typings';
import { discardCommand } from './failed/discard.ts';
import { actionsCommand, groupsCommand, listCommand, showCommand } from './failed/lists.ts';
import { retryCommand } from './failed/retry-command.ts';
import { wrapped } from './options.ts';

const help = `
Examples:
  $ sluice failed groups
  $ sluice failed show points 019a2b3c-…
  $ sluice failed retry --service points --error 'connection refused'
  $ sluice failed discard points 019a2b3c-… --reason 'test order'

A message that fails is retried with growing delays (status 'retrying'). After the last attempt it is 'dead' and kept for FAILED_RETENTION_DAYS.
Fix the cause, then retry the message: it is handled as if it had just arrived. Or discard it.`;

export const failedCommand = () =>
  new Command('failed')
    .description('list, group, show, retry and discard messages that a service could not handle')
    .addHelpText('after', wrapped(help))
    .addCommand(listCommand())
    .addCommand(groupsCommand())
    .addCommand(showCommand())
    .addCommand(retryCommand())
    .addCommand(discardCommand())
    .addCommand(actionsCommand());
