// `sluice audit`: checks the guarantees against everything stored, from the facts that each service reports.
import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { type ServiceName, serviceNames } from '../contracts/services.ts';
import { FactsClient } from '../demos/shared/auditor/facts-client.ts';
import { type AuditReport, renderAuditReport, violationSummary } from '../demos/shared/auditor/report.ts';
import { audit, repair } from '../demos/shared/auditor/run.ts';
import { CliError } from '../demos/shared/errors.ts';
import { untilInterrupted } from '../demos/shared/interrupt.ts';
import {
  httpUrl,
  jsonOption,
  type OptionsOf,
  printResult,
  timeUpTo,
  tokenOption,
  urlOption,
  wrapped,
} from './options.ts';

type Urls = Readonly<Partial<Record<ServiceName, string>>>;

const help = `
Examples:
  $ sluice audit
  $ sluice audit --repair --settle 10s
  $ sluice audit --url http://127.0.0.1:3001 --at points=http://127.0.0.1:3002

Exit code 1 if a guarantee is violated. Neither work in progress nor a dead message violates a guarantee.
Work in progress is counted, and listed if it takes longer than --settle; dead messages are listed.`;

const command = () =>
  new Command('audit')
    .description('check the guarantees against everything stored: orders and their effects, sales and their tickets')
    .addOption(
      new Option('--settle <time>', 'how long to recheck possible violations, such as 500ms, 60s or 5m')
        .argParser(timeUpTo(60, ['ms', 's', 'm']))
        .default(60_000, '60s'),
    )
    .option('--repair', 'resend the requests whose effects are missing, then audit again')
    .addOption(urlOption())
    .addOption(tokenOption())
    .addOption(
      new Option('--at <service=url>', 'URL of a service that does not run at --url, repeatable')
        .argParser(addUrl)
        .default<Urls>({}, 'all at --url'),
    )
    .addOption(jsonOption())
    .addHelpText('after', wrapped(help));

export const auditCommand = () =>
  command().action((options) => untilInterrupted((signal) => runAudit(options, signal)));

function addUrl(given: string, before: Urls): Urls {
  const [, name, url] = /^([a-z-]+)=(.+)$/.exec(given) ?? [];
  const service = serviceNames.find((candidate) => candidate === name);
  if (service && url) return { ...before, [service]: httpUrl(url) };
  throw new InvalidArgumentError(
    `It must be service=url, such as points=http://127.0.0.1:3002; services are ${serviceNames.join(', ')}.`,
  );
}

async function runAudit(options: OptionsOf<typeof command>, signal: AbortSignal): Promise<void> {
  const client = new FactsClient((service) => options.at[service] ?? options.url, signal);
  const auditing = { client, startedAt: performance.now(), settleMs: options.settle, signal };
  try {
    const first = await audit(auditing);
    const repairs = options.repair && first.toResend.orders.length + first.toResend.tickets.length > 0;
    const repaired = repairs ? await repair(auditing, first) : { resent: 0, discarded: 0 };
    const last = repairs ? await audit(auditing) : first;
    const report: AuditReport = {
      ...last.report,
      ...(options.repair ? { repaired: { ...repaired, violationsBefore: first.report.violations } } : {}),
    };
    printResult(options.json, report, renderAuditReport);
    if (!report.ok) throw new CliError(violationSummary(report.violations));
  } finally {
    await client.close();
  }
}
