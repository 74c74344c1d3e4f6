// Keeps the page of a ticket up to date until the ticket's status is final.
import { about, announce, backoffSeconds, createAlarm, element, request, showMessage, showState } from './waiting.js';

const FINAL = ['ordered', 'released', 'failed'];
const ANNOUNCE_POSITION_EVERY_MS = 20_000;

const ticket = element('ticket').dataset;
const drainPerSecond = Number(ticket.drainPerSecond);
const messages = JSON.parse(ticket.messages ?? '{}');
const numbers = new Intl.NumberFormat('en');
const alarm = createAlarm(() => {});
let status = ticket.status ?? '';
let unchanged = 0;
let failures = 0;
let announcedAt = Date.now();

function end() {
  showState('This page no longer updates itself.');
  element('state').classList.remove('busy');
}

/** From 1 s to 10 s: a quarter of the time left to wait, or longer with every response that brings nothing new. */
function pauseSeconds(/** @type {number} */ position) {
  const seconds = status === 'queued' ? position / drainPerSecond / 4 : 1.5 ** unchanged;
  return Math.min(8, Math.max(1, seconds)) * (1 + Math.random() / 4);
}

/** @param {{ status: string, position?: number, orderId?: string }} now */
function showTicket(now) {
  const position = now.position ?? 1;
  const fill = (/** @type {string} */ text) =>
    text.replace('{position}', numbers.format(position)).replace('{wait}', about(position / drainPerSecond));
  const title = fill(messages[now.status].title);
  const detail = fill(messages[now.status].detail);
  showMessage(title, detail, ticket.sale);
  if (now.orderId !== undefined) {
    element('order-link').setAttribute('href', `/orders/${encodeURIComponent(now.orderId)}`);
    element('order-id').textContent = now.orderId;
    element('order').hidden = false;
  }
  unchanged = now.status === status ? unchanged + 1 : 0;
  // A screen reader says every new status, and the position now and then.
  if (unchanged === 0 || (now.status === 'queued' && Date.now() - announcedAt > ANNOUNCE_POSITION_EVERY_MS)) {
    announce(`${title}. ${detail}`);
    announcedAt = Date.now();
  }
  status = now.status;
  if (FINAL.includes(status)) {
    element('again').hidden = status === 'ordered';
    end();
  } else {
    showState('This page updates itself.');
    alarm.set(pauseSeconds(position), () => void poll());
  }
}

/** Never rejects: a request without a response counts as a failure. */
async function poll() {
  const response = await request(location.pathname);
  if (response?.status === 200 && messages[response.body.status]) {
    failures = 0;
    showTicket(response.body);
  } else if (response?.status === 404) {
    showMessage('This ticket does not exist', '', ticket.sale);
    announce('This ticket does not exist.');
    end();
  } else {
    failures++;
    const seconds = backoffSeconds(failures, response?.retryAfter) * (1 + Math.random() / 4);
    showState(`The shop is not responding. Your ticket is safe. Checking again in about ${about(seconds)}.`);
    announce('The shop is not responding. Your ticket is safe, and this page keeps checking.');
    alarm.set(seconds, () => void poll());
  }
}

if (!FINAL.includes(status)) alarm.set(pauseSeconds(Number(ticket.position)), () => void poll());
