// Follows a ticket: asks for its state until it is final.
import { about, announce, ask, backoffSeconds, createAlarm, element } from './waiting.js';

const FINAL = ['ordered', 'released', 'failed'];
const ANNOUNCE_POSITION_EVERY_MS = 20_000;

const ticket = element('ticket').dataset;
const drainPerSecond = Number(ticket.drainPerSecond);
const words = JSON.parse(ticket.words ?? '{}');
const numbers = new Intl.NumberFormat('en');
const alarm = createAlarm(() => {});
let status = ticket.status ?? '';
let answersAlike = 0;
let failures = 0;
let announcedAt = Date.now();

/** @param {string} text */
function state(text) {
  element('state').textContent = text;
}

/** @param {string} title @param {string} detail */
function show(title, detail) {
  element('title').textContent = title;
  element('detail').textContent = detail;
  document.title = `${title} – ${ticket.sale}`;
}

/** @param {string} text */
function end(text) {
  state(text);
  element('state').classList.remove('busy');
}

/** From 1 s to 10 s: a quarter of what is left to wait, or longer with every answer that brings nothing new. */
function pauseSeconds(/** @type {number} */ position) {
  const seconds = status === 'queued' ? position / drainPerSecond / 4 : 1.5 ** answersAlike;
  return Math.min(8, Math.max(1, seconds)) * (1 + Math.random() / 4);
}

/** @param {{ status: string, position?: number, orderId?: string }} now */
function showTicket(now) {
  const position = now.position ?? 1;
  const fill = (/** @type {string} */ text) =>
    text.replace('{position}', numbers.format(position)).replace('{wait}', about(position / drainPerSecond));
  const title = fill(words[now.status].title);
  const detail = fill(words[now.status].detail);
  show(title, detail);
  if (now.orderId !== undefined) {
    element('order-link').setAttribute('href', `/orders/${encodeURIComponent(now.orderId)}`);
    element('order-id').textContent = now.orderId;
    element('order').hidden = false;
  }
  answersAlike = now.status === status ? answersAlike + 1 : 0;
  // A screen reader hears of every new status, and of the position now and then.
  if (answersAlike === 0 || (now.status === 'queued' && Date.now() - announcedAt > ANNOUNCE_POSITION_EVERY_MS)) {
    announce(`${title}. ${detail}`);
    announcedAt = Date.now();
  }
  status = now.status;
  if (FINAL.includes(status)) {
    element('again').hidden = status === 'ordered';
    end('Nothing more will happen here.');
  } else {
    state('This page keeps itself up to date.');
    alarm.set(pauseSeconds(position), () => void poll());
  }
}

/** Never rejects: a request that gets no answer counts as a failed one. */
async function poll() {
  const answer = await ask(location.pathname);
  if (answer?.status === 200 && words[answer.body.status]) {
    failures = 0;
    showTicket(answer.body);
  } else if (answer?.status === 404) {
    show('There is no such ticket', '');
    announce('There is no such ticket.');
    end('Nothing more will happen here.');
  } else {
    failures++;
    const seconds = Math.max(answer?.retryAfter ?? 0, backoffSeconds(failures)) * (1 + Math.random() / 4);
    state(`No answer just now. The ticket is kept. Asking again in about ${about(seconds)}.`);
    announce('No answer just now. The ticket is kept, and this page asks again.');
    alarm.set(seconds, () => void poll());
  }
}

if (!FINAL.includes(status)) alarm.set(pauseSeconds(Number(ticket.position)), () => void poll());
