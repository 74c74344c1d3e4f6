// Tries again to get a ticket: after the time that the answer names, or when the button is pressed.
import { about, announce, ask, backoffSeconds, createAlarm, element } from './waiting.js';

const { userId, sale, waitSeconds } = element('rejected').dataset;
const form = element('retry');
const tryButton = element('try');
const stopButton = element('stop');
const url = form.getAttribute('action') ?? '';
const alarm = createAlarm((seconds) => state(`Trying again by itself in ${about(seconds)}. ${tried()}`));
let tries = 0;
let failures = 0;
let isTrying = false;
let isStopped = false;

const tried = () => (tries === 0 ? '' : `Tried ${tries === 1 ? 'once' : `${tries} times`}.`);

/** @param {string} text */
function state(text) {
  element('state').textContent = text;
}

/** @param {string} title @param {string} detail */
function show(title, detail) {
  element('title').textContent = title;
  element('detail').textContent = detail;
  document.title = `${title} – ${sale}`;
  announce(`${title}. ${detail}`);
}

/** A button that has the focus keeps it: what disappears would take it along. */
function offerToStop(/** @type {boolean} */ offered) {
  if (!offered && document.activeElement === stopButton) tryButton.focus();
  stopButton.hidden = !offered;
}

/**
 * Never sooner than it was asked to; later by a random part, so that those who were rejected together do not come
 * back together.
 * @param {number} seconds
 */
function waitFor(seconds) {
  if (isStopped) return end();
  offerToStop(true);
  const atMostLater = Math.min(5, Math.max(1, seconds / 4));
  alarm.set(seconds + Math.random() * atMostLater, () => void attempt());
}

function end() {
  offerToStop(false);
  state(`Not trying by itself any more. ${tried()}`);
}

/** Never rejects: a request that gets no answer counts as a failed one. */
async function attempt() {
  if (isTrying) return;
  isTrying = true;
  alarm.clear();
  tries++;
  state('Trying…');
  const answer = await ask(url, { userId });
  isTrying = false;
  heed(answer);
}

/** @param {Awaited<ReturnType<typeof ask>>} answer */
function heed(answer) {
  if (!answer || answer.status >= 500) {
    failures++;
    show('No answer just now', isStopped ? 'Try again later.' : 'This page goes on trying.');
    waitFor(Math.max(answer?.retryAfter ?? 0, backoffSeconds(failures)));
    return;
  }
  failures = 0;
  const { status, retryAfter, body } = answer;
  if ((status === 200 || status === 202) && typeof body.statusUrl === 'string') {
    offerToStop(false);
    show('You are in the queue', 'A unit is held for you.');
    state('Going to your ticket…');
    location.replace(body.statusUrl);
    return;
  }
  show(body.title ?? 'It did not work', body.detail ?? '');
  // Any rejection that names a time is worth another try.
  if (status === 429 || retryAfter > 0) waitFor(Math.max(1, retryAfter));
  else end();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  isStopped = false;
  void attempt();
});

stopButton.addEventListener('click', () => {
  isStopped = true;
  alarm.clear();
  // Whoever is being tried for now is told how it ends.
  if (!isTrying) end();
  else offerToStop(false);
  announce('Stopped trying.');
});

if (waitSeconds) waitFor(Number(waitSeconds));
