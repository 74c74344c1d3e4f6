// What a resource says of itself, for readiness.
type HealthStatus = 'up' | 'degraded' | 'down';
export interface Health {
  readonly status: HealthStatus;
  /** For clients of GET /readyz: no text of an error, no address. Those are logged. */
  readonly detail?: string;
}
