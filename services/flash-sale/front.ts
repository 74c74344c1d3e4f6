// A listener in front of Express, whose routing and body parsing cost several times as much as the rejection of a
// purchase from memory. It handles two kinds of requests, which come in floods, if they have their usual form: purchases
// that the snapshot rejects, and polls of a ticket. It passes on all others as if it had not read them. The routes give
// the same responses; a test sends the same requests to both.
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Logger } from 'pino';
import { flashSaleRoutes } from '../../contracts/routes/flash-sales.ts';
import { type Caller, mayActFor, mayUse } from '../../infra/access/caller.ts';
import { sendReply, withUser } from '../../infra/http/api.ts';
import { type Authentication, admitKnown, requireOwner } from '../../infra/http/authentication.ts';
import { prefersHtml } from '../../infra/http/prefers-html.ts';
import { notFound, sendError } from '../../infra/http/problem.ts';
import { setRoute } from '../../infra/http/route-of.ts';
import { handleSmallBody, jsonOf } from '../../infra/http/small-body.ts';
import type { ReadTicket } from './read-ticket.ts';
import { sendRejection, ticketReply } from './replies.ts';
import type { SaleAdmission } from './sale-admission.ts';

const { buy, readTicket } = flashSaleRoutes;

interface Options {
  readonly admission: Pick<SaleAdmission, 'reject' | 'returnAttempt'>;
  /** Purchases that the snapshot did not reject. Each may have used an attempt; the route must not use a second. */
  readonly passedSnapshot: WeakSet<IncomingMessage>;
  readonly readTicket: ReadTicket;
  readonly log: Logger;
}

/** A purchase in JSON is up to 77 bytes long, and as a form up to 199, if every character is escaped. */
const MAX_BODY_BYTES = 256;

/** The ids that this service gives are UUIDs of version 7, in lower case. */
const ID = '([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})';
const patternOf = (path: string) => path.replaceAll(/:\w+/g, ID);
/** The path of a purchase, or with one more segment of a ticket. */
const PATH = new RegExp(`^${patternOf(buy.path)}(?:${patternOf(readTicket.path.slice(buy.path.length))})?$`);

/** Returns the listener that passes on requests to `next`. */
export const front =
  (options: Options) =>
  (next: RequestListener, authentication: Authentication): RequestListener =>
  (request, response) => {
    const [, saleId, ticketId] = PATH.exec(request.url ?? '') ?? [];
    const pass = () => next(request, response);
    if (saleId !== undefined) setRoute(request, ticketId === undefined ? buy : readTicket);
    // The routes reject an Idempotency-Key.
    if (saleId === undefined || request.headers['idempotency-key'] !== undefined) pass();
    else if (request.method === 'POST' && ticketId === undefined) {
      const reject = (body: Buffer) => {
        // A purchase that the snapshot does not reject keeps its attempt while its token is verified: otherwise all that
        // come meanwhile would pass, and each verification costs more than ten rejections.
        const userId = userIdIn(request, body, authentication.known(request) ?? authentication.signedBuyer(request));
        if (userId === undefined) return false;
        const rejected = options.admission.reject({ saleId, userId, request });
        if (!rejected) {
          options.passedSnapshot.add(request);
          return false;
        }
        sendRejection(response, { saleId, userId, byBrowser: prefersHtml(request) }, rejected);
        return true;
      };
      if (handleSmallBody(request, MAX_BODY_BYTES, reject)) return;
      pass();
      // The route never responds within this call, so the purchase was shed.
      if (response.writableEnded) options.admission.returnAttempt({ saleId, request });
    } else if (
      request.method === 'GET' &&
      ticketId !== undefined &&
      !prefersHtml(request) &&
      admitKnown(authentication, readTicket.access, request)
    ) {
      options
        .readTicket(saleId, ticketId)
        .then(async (found) => {
          await requireOwner(request, 'ticket', async () => found?.userId);
          if (!found) throw notFound('ticket');
          sendReply(response, ticketReply(found.ticket));
        })
        .catch((error) => sendError(options.log, error, request, response));
    } else pass();
  };

/** The user of a valid purchase by this caller; undefined for any body that is not certainly one. */
function userIdIn(request: IncomingMessage, body: Buffer, caller: Caller): string | undefined {
  if (!mayUse(caller, buy.access)) return undefined;
  const isForm = request.headers['content-type'] === 'application/x-www-form-urlencoded';
  const fields = isForm ? formOf(body) : jsonOf(request, body);
  const parsed = buy.body.schema.safeParse(withUser(fields, caller));
  return parsed.success && mayActFor(caller, parsed.data.userId) ? parsed.data.userId : undefined;
}

/** A form with this one field, as the page of a sale sends it. */
function formOf(body: Buffer): unknown {
  const [, value] = /^userId=((?:[A-Za-z0-9_.*-]|%[0-7][0-9A-Fa-f])+)$/.exec(body.toString('latin1')) ?? [];
  return value === undefined ? undefined : { userId: decodeURIComponent(value) };
}
