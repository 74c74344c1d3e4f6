// Settings of a session that differ from PostgreSQL's defaults and would change what the code writes or reads.
export const unusualSettings: Readonly<Record<string, string>> = {
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'iso_8601',
  TimeZone: 'Asia/Kolkata',
  bytea_output: 'escape',
  client_encoding: 'LATIN1',
  extra_float_digits: '-10',
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  transform_null_equals: 'on',
  xmloption: 'document',
  search_path: 'nowhere',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  synchronous_commit: 'off',
  statement_timeout: '300ms',
  lock_timeout: '1ms',
  idle_in_transaction_session_timeout: '5s',
  idle_session_timeout: '5s',
  enable_seqscan: 'on',
  jit: 'on',
};

/** Statements that set them for new sessions of `target`, such as `DATABASE shop`. */
export const alterAll = (target: string): string =>
  Object.entries(unusualSettings)
    // A list of schemas is not quoted as one name.
    .map(([name, value]) => `ALTER ${target} SET ${name} TO ${name === 'search_path' ? value : `'${value}'`};`)
    .join('\n');

/** The URL with one of the settings, or all of them, as command-line options of the session. */
export function withOptions(url: string, settings = unusualSettings): string {
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`);
  return `${url}?options=${encodeURIComponent(options.join(' '))}`;
}
