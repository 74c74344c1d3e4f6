// The responses to rejected purchases: a problem for programs, a page's address for browsers.
import type { Response } from 'express';
import type { FlashSaleStatus, Rejection } from '../../contracts/flash-sales.ts';
import { Problem, WrittenProblem } from '../../infra/http/problem.ts';
import { rejectionMessage } from './pages/messages.ts';
import type { RejectedPurchase } from './sale-admission.ts';

const statusOf: Readonly<Record<Rejection, number>> = { 'not-open': 409, 'sold-out': 409, 'queue-full': 429 };

/** Serialized once each: there are few different ones, and they are most of the responses in a flood. */
const problems = new Map<string, WrittenProblem>();

export function sendRejection(response: Response, { outcome, status, retryAfterSeconds }: RejectedPurchase): void {
  const headers = retryAfterSeconds === undefined ? undefined : { 'Retry-After': retryAfterSeconds };
  problemOf(outcome, status).send(response, headers);
}

/** The path of the page that explains a rejection. */
export function rejectionUrl(saleId: string, userId: string, { outcome, retryAfterSeconds }: RejectedPurchase): string {
  const query = new URLSearchParams({ reason: outcome, userId });
  if (retryAfterSeconds !== undefined) query.set('retryAfter', String(retryAfterSeconds));
  return `/flash-sales/${saleId}/rejected?${query}`;
}

function problemOf(outcome: Rejection, status: FlashSaleStatus): WrittenProblem {
  const key = `${outcome} ${status}`;
  let problem = problems.get(key);
  if (!problem) {
    const about = { ...rejectionMessage(outcome, status), headers: { Vary: 'Accept' } };
    problem = new WrittenProblem(new Problem(statusOf[outcome], outcome, about));
    problems.set(key, problem);
  }
  return problem;
}
