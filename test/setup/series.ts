// The series in the text of GET /metrics.
export interface Series {
  /** Of a histogram, with its suffix. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The series of this program; those about the process come from prom-client. */
export function seriesIn(text: string): Series[] {
  const lines = text.split('\n').filter((line) => line.startsWith('sluice_'));
  return lines.map((line) => {
    const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', value = '']) => [
      label,
      value,
    ]);
    return { name, labels: Object.fromEntries(pairs), value: Number(value) };
  });
}

/** The value of the series with exactly these labels; undefined if there is none. */
export function valueIn(series: readonly Series[], name: string, labels: Readonly<Record<string, string>> = {}) {
  const isWanted = (its: Series['labels']) =>
    Object.keys(its).length === Object.keys(labels).length &&
    Object.entries(labels).every(([label, value]) => its[label] === value);
  return series.find((each) => each.name === name && isWanted(each.labels))?.value;
}
