// What a resource says of itself, for readiness.
export type HealthStatus = 'up' | 'degraded' | 'down';
export interface Health {
  readonly status: HealthStatus;
  readonly detail?: string;
}
