// The state of a resource, for GET /readyz.
type HealthStatus = 'up' | 'degraded' | 'down';
export interface Health {
  readonly status: HealthStatus;
  /** Public, so it contains no error message and no address; those are logged. */
  readonly detail?: string;
}
