// Keeps the page of a ticket up to date until the ticket's status is final, and pays for its order.
import { about, announce, backoffSeconds, createAlarm, element, request, showMessage, showState } from './waiting.js';

const FINAL = ['ordered', 'released', 'failed'];
const ANNOUNCE_POSITION_EVERY_MS = 20_000;

const ticket = element('ticket').dataset;
const drainPerSecond = Number(ticket.drainPerSecond);
const messages = JSON.parse(ticket.messages ?? '{}');
const paymentMessages = JSON.parse(ticket.paymentMessages ?? '{}');
const payForm = element('pay');
const numbers = new Intl.NumberFormat('en');
const alarm = createAlarm(() => {});
let status = ticket.status ?? '';
let unchanged = 0;
let failures = 0;
let announcedAt = Date.now();
let orderId = element('order-id').textContent ?? '';
let isPaying = false;
/** Whether the payment provider has been asked and has not responded. */
let isInProgress = false;
/** Why the last payment failed; it stays on the page until the next one. */
let failure = '';

function end() {
  showState('This page no longer updates itself.');
  element('state').classList.remove('busy');
}

/** From 1 s to 10 s: a quarter of the time left to wait, or longer with every response that brings nothing new. */
function pauseSeconds(/** @type {number} */ position) {
  const seconds = status === 'queued' ? position / drainPerSecond / 4 : 1.5 ** unchanged;
  return Math.min(8, Math.max(1, seconds)) * (1 + Math.random() / 4);
}

/** @param {string} id */
function showOrder(id) {
  orderId = id;
  const path = `${ticket.orders}/${encodeURIComponent(id)}`;
  element('order-link').setAttribute('href', path);
  element('order-id').textContent = id;
  element('order').hidden = false;
  payForm.setAttribute('action', `${path}/pay`);
}

/** @param {boolean} canPay @param {string} [message] what becomes of the payment */
function showPayment(canPay, message) {
  payForm.hidden = !canPay;
  element('payment').hidden = message === undefined;
  if (message !== undefined && element('payment').textContent !== message) {
    element('payment').textContent = message;
    announce(message);
  }
}

/** Reads the state of the payment from the order, because another page may have paid. Never rejects. */
async function readPayment() {
  const response = await request(`${ticket.orders}/${encodeURIComponent(orderId)}`);
  if (isPaying || status !== 'awaiting-payment' || response?.status !== 200) return;
  const order = response.body;
  if (order.payment === 'in-progress') {
    isInProgress = true;
    showPayment(false, paymentMessages['in-progress']);
  } else if (order.status === 'awaiting-payment') {
    if (isInProgress) failure = 'The payment did not go through, and nothing was charged. You can try again.';
    isInProgress = false;
    const until = order.expiresAt ? `Please pay by ${new Date(order.expiresAt).toLocaleTimeString()}.` : '';
    showPayment(true, `${failure} ${until}`.trim());
  } else if (order.status !== 'cancelled') showPayment(false, paymentMessages.paid);
}

/** Without a response, the payment may be in progress. @param {number | undefined} status */
function outcomeOf(status, retryAfter = 0) {
  if (status === 200) return 'paid';
  if (status === 402) return 'declined';
  if (status === 409) return 'not-payable';
  if (status !== undefined && status < 500) return 'not-accepted';
  // A provider that rejects the payment will do so again for a while.
  return status === 503 && retryAfter >= 60 ? 'rejected' : 'in-progress';
}

/** Never rejects. */
async function pay() {
  if (isPaying) return;
  isPaying = true;
  showPayment(false, 'Paying…');
  const response = await request(payForm.getAttribute('action') ?? '', {});
  isPaying = false;
  const outcome = outcomeOf(response?.status, response?.retryAfter);
  isInProgress = outcome === 'in-progress';
  const canRetry = outcome === 'declined' || outcome === 'rejected' || outcome === 'not-accepted';
  failure = canRetry ? paymentMessages[outcome] : '';
  showPayment(canRetry, paymentMessages[outcome]);
  unchanged = 0;
  alarm.set(1, () => void poll());
}

/** @param {{ status: string, position?: number, orderId?: string }} now */
function showTicket(now) {
  const position = now.position ?? 1;
  const fill = (/** @type {string} */ text) =>
    text.replace('{position}', numbers.format(position)).replace('{wait}', about(position / drainPerSecond));
  const title = fill(messages[now.status].title);
  const detail = fill(messages[now.status].detail);
  showMessage(title, detail, ticket.sale);
  if (now.orderId !== undefined) showOrder(now.orderId);
  unchanged = now.status === status ? unchanged + 1 : 0;
  // A screen reader says every new status, and the position now and then.
  if (unchanged === 0 || (now.status === 'queued' && Date.now() - announcedAt > ANNOUNCE_POSITION_EVERY_MS)) {
    announce(`${title}. ${detail}`);
    announcedAt = Date.now();
  }
  status = now.status;
  if (status !== 'awaiting-payment') showPayment(false);
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
    if (status === 'awaiting-payment' && orderId !== '' && !isPaying) void readPayment();
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

payForm.addEventListener('submit', (event) => {
  event.preventDefault();
  void pay();
});
