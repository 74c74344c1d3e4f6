// `sluice failed list`, `show`, `groups` and `actions`: what there is to read.
import { Command, Option } from '@commander-js/extra-typings';
import { type ServiceName, serviceNames } from '../../contracts/services.ts';
import { numberBetween } from '../../demos/shared/number-option.ts';
import { jsonOption, type OptionsOf, printResult, tokenOption, urlOption, wrapped } from '../options.ts';
import { type FailedMessages, requestEach } from './client.ts';
import {
  commandWithFilter,
  eventId,
  MAX_LISTED,
  queryOf,
  serviceArgument,
  serviceOption,
  withClient,
} from './options.ts';
import { newestFirst, renderActions, renderGroups, renderList, renderMessage } from './render.ts';

const listHelp = `
Examples:
  $ sluice failed list --status dead --newer-than 1h
  $ sluice failed list --service points --service coupon --error 'out of range'
  $ sluice failed list --json | jq -r '.items[] | [.service, .id] | @tsv'

Newest first. Discarded messages are listed with --status discarded. An age counts from the arrival of a message, by the
database's clock.`;

const showHelp = `
Example:
  $ sluice failed show points 019a2b3c-4d5e-7f60-8123-456789abcdef`;

const groupsHelp = `
Examples:
  $ sluice failed groups
  $ sluice failed groups --service points --json

Messages of one type are a group if their errors differ only in ids and numbers. Use the id of a group with --group of
list and retry.`;

const actionsHelp = `
Examples:
  $ sluice failed actions
  $ sluice failed actions --service points --json

Retries, corrections and discards of failed messages, and other changes by operators: new sales, resends of an audit.
Newest first.`;

export const listCommand = () =>
  listOptions().action((options) => withClient(options, (messages) => list(messages, options)));

export const showCommand = () =>
  new Command('show')
    .description('show one failed message with its error and payload')
    .addArgument(serviceArgument('service that received it'))
    .argument('<id>', "the event's id", eventId)
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(showHelp))
    .action((service, id, options) => withClient(options, (messages) => show(messages, service, id, options)));

export const groupsCommand = () =>
  groupsOptions().action((options) => withClient(options, (messages) => groups(messages, options)));

export const actionsCommand = () =>
  actionsOptions().action((options) => withClient(options, (messages) => actions(messages, options)));

const limitOption = (of: string) =>
  new Option('--limit <n>', `maximum number of ${of}`).argParser(numberBetween(1, MAX_LISTED)).default(50);

const listOptions = () =>
  commandWithFilter('list')
    .description('list failed messages, newest first')
    .addOption(
      new Option('--status <status>', 'only messages with this status; without it, dead and retrying ones').choices([
        'dead',
        'retrying',
        'discarded',
      ]),
    )
    .addOption(limitOption('messages'))
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(listHelp));

const groupsOptions = () =>
  new Command('groups')
    .description('count failed messages by type and error')
    .addOption(serviceOption('only messages of these services'))
    .addOption(limitOption('groups'))
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(groupsHelp));

const actionsOptions = () =>
  new Command('actions')
    .description('list what operators have changed')
    .addOption(new Option('--service <name>', 'only changes in this service').choices(serviceNames))
    .addOption(limitOption('actions'))
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(jsonOption())
    .addHelpText('after', wrapped(actionsHelp));

async function list(messages: FailedMessages, options: OptionsOf<typeof listOptions>): Promise<void> {
  const { limit, service: named, url, json } = options;
  const pages = await requestEach(named, url, (service) => messages.list(service, queryOf(options), limit));
  const found = newestFirst([...pages.values()].flatMap(({ items }) => items));
  const items = found.slice(0, limit);
  const more = found.length > limit || [...pages.values()].some((page) => page.more);
  printResult(json, { services: [...pages.keys()], items, more }, () => renderList(items, more));
}

async function show(messages: FailedMessages, service: ServiceName, id: string, { json }: { json?: true }) {
  const message = await messages.find(service, id);
  printResult(json, { service, ...message }, () => renderMessage(service, message));
}

async function groups(messages: FailedMessages, options: OptionsOf<typeof groupsOptions>): Promise<void> {
  const { limit, service: named, url, json } = options;
  const pages = await requestEach(named, url, (service) => messages.groups(service, limit));
  const found = [...pages.values()]
    .flatMap(({ items }) => items)
    .sort((a, b) => Date.parse(b.newestAt) - Date.parse(a.newestAt));
  const items = found.slice(0, limit);
  const more = found.length > limit || [...pages.values()].some((page) => page.more);
  printResult(json, { services: [...pages.keys()], items, more }, () => renderGroups(items, more));
}

async function actions(messages: FailedMessages, options: OptionsOf<typeof actionsOptions>): Promise<void> {
  const { items, more } = await messages.actions(options.service, options.limit);
  printResult(options.json, { items, more }, () => renderActions(items, more));
}
