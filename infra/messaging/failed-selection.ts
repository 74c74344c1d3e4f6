// Which failed messages an operator means: the filters of lists and retries, as SQL.

export interface FailedFilter {
  /** Undefined: the messages that count as failures, retrying and dead. */
  readonly status?: 'retrying' | 'dead' | 'discarded' | undefined;
  readonly type?: string | undefined;
  /** A part of the error, without wildcards. */
  readonly error?: string | undefined;
  /** The id of an error group. */
  readonly group?: string | undefined;
  /** Received longer ago than this. */
  readonly olderThanSeconds?: number | undefined;
  readonly newerThanSeconds?: number | undefined;
  /** Excludes messages that failed or were retried since this time. Ages count from it, too, instead of from now. */
  readonly failedBefore?: string | undefined;
  /** Excludes messages that were received since this time. Ages count from it, before all others. */
  readonly asOf?: string | undefined;
  /** Excludes the messages that this run of retries has retried. */
  readonly notOfRun?: string | undefined;
}

/** The messages that count as failures. For their index, a query must repeat this predicate. */
export const FAILED = `status IN ('retrying', 'dead') AND discarded_at IS NULL`;
export const DISCARDED = 'discarded_at IS NOT NULL';

/** The group of messages that failed in a version without groups. */
export const NO_GROUP = '00000000-0000-0000-0000-000000000000';

export interface Selection {
  /** SQL on the parameters $1 to $n. */
  readonly condition: string;
  readonly params: readonly unknown[];
}

/** Only the conditions that are given are part of the SQL, so that a plan fits them. */
export function selection(filter: FailedFilter): Selection {
  const { status, type, error, group, olderThanSeconds, newerThanSeconds, failedBefore, asOf, notOfRun } = filter;
  const conditions = [status === 'discarded' ? DISCARDED : FAILED];
  const params: unknown[] = [];
  const param = (value: unknown) => `$${params.push(value)}`;
  const now = asOf ?? failedBefore;
  const before = (seconds: number) =>
    `${now === undefined ? 'now()' : `${param(now)}::timestamptz`} - ${param(seconds)}::integer * interval '1 second'`;
  if (status === 'retrying' || status === 'dead') conditions.push(`status = ${param(status)}`);
  if (type !== undefined) conditions.push(`type = ${param(type)}`);
  if (error !== undefined) conditions.push(`strpos(error, ${param(error)}) > 0`);
  if (group !== undefined)
    conditions.push(group === NO_GROUP ? 'error_group IS NULL' : `error_group = ${param(group)}::uuid`);
  if (olderThanSeconds !== undefined) conditions.push(`received_at < ${before(olderThanSeconds)}`);
  if (newerThanSeconds !== undefined) conditions.push(`received_at > ${before(newerThanSeconds)}`);
  if (failedBefore !== undefined)
    conditions.push(`COALESCE(handled_at, received_at) < ${param(failedBefore)}::timestamptz`);
  if (asOf !== undefined) conditions.push(`received_at < ${param(asOf)}::timestamptz`);
  if (notOfRun !== undefined) conditions.push(`retry_run IS DISTINCT FROM ${param(notOfRun)}::uuid`);
  return { condition: conditions.join(' AND '), params };
}
