// What the attacked server and its tests have in common.
export const LIMITS = {
  keepAliveMs: 2_000,
  headersMs: 500,
  requestMs: 1_000,
  responseMs: 1_000,
  lingerMs: 200,
  checkEveryMs: 100,
  maxConnections: 300,
};

export interface Facts {
  /** Connections closed at once. */
  readonly dropped: number;
  readonly connections: number;
  readonly residentBytes: number;
}
