// What the command and a process that runs services for it say to each other, over the channel that Node puts between a
// process and its child. Nobody else can reach it.
import type { ServiceName } from '../../contracts/services.ts';

/** To the process: stop a service that runs in it, or start it again. One at a time. */
export interface PartRequest {
  readonly part: 'stop' | 'start';
  readonly service: ServiceName;
}

/** From the process: it answers HTTP there; it did what was asked; or why not. */
export type Report = { readonly readyAt: string } | { readonly done: true } | { readonly failed: string };
