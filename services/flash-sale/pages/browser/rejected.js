// Tries again to get a ticket: after the time that the response names, or when the buyer presses the button.
import { about, announce, backoffSeconds, createAlarm, element, request, showMessage, showState } from './waiting.js';

const { userId, sale, waitSeconds } = element('rejected').dataset;
const form = element('retry');
const tryButton = element('try');
const stopButton = element('stop');
const url = form.getAttribute('action') ?? '';
const alarm = createAlarm((seconds) => showState(`Trying again in ${about(seconds)}. ${tried()}`));
let tries = 0;
let failures = 0;
let isTrying = false;
let isStopped = false;

const tried = () => (tries === 0 ? '' : `Tried ${tries === 1 ? 'once' : `${tries} times`}.`);

/** @param {string} title @param {string} detail */
function show(title, detail) {
  showMessage(title, detail, sale);
  announce(`${title}. ${detail}`);
}

/** Hiding a button that has the focus loses the focus, so it moves on first. */
function showStopButton(/** @type {boolean} */ shown) {
  if (!shown && document.activeElement === stopButton) tryButton.focus();
  stopButton.hidden = !shown;
}

/**
 * Never tries again before the requested time, and tries later by a random part, so that buyers who were rejected
 * together do not return together.
 * @param {number} seconds
 */
function tryAgainIn(seconds) {
  if (isStopped) return end();
  showStopButton(true);
  const atMostLater = Math.min(5, Math.max(1, seconds / 4));
  alarm.set(seconds + Math.random() * atMostLater, () => void attempt());
}

function end() {
  showStopButton(false);
  showState(`No longer trying. ${tried()}`);
}

/** Never rejects: a request without a response counts as a failure. */
async function attempt() {
  if (isTrying) return;
  isTrying = true;
  alarm.clear();
  tries++;
  showState('Trying…');
  const response = await request(url, { userId });
  isTrying = false;
  onResponse(response);
}

/** @param {Awaited<ReturnType<typeof request>>} response */
function onResponse(response) {
  if (!response || response.status >= 500) {
    failures++;
    show('The shop is not responding', isStopped ? 'Please try again later.' : 'This page keeps trying for you.');
    tryAgainIn(backoffSeconds(failures, response?.retryAfter));
    return;
  }
  failures = 0;
  const { status, retryAfter, body } = response;
  if ((status === 200 || status === 202) && typeof body.statusUrl === 'string') {
    showStopButton(false);
    show('You are in the queue', 'A unit is held for you.');
    showState('Opening your ticket…');
    location.replace(body.statusUrl);
    return;
  }
  show(body.title ?? 'Something went wrong', body.detail ?? '');
  // Any rejection that names a time is worth another try.
  if (status === 429 || retryAfter > 0) tryAgainIn(Math.max(1, retryAfter));
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
  // The page still shows how a try under way ends.
  if (isTrying) showStopButton(false);
  else end();
  announce('Stopped trying.');
});

if (waitSeconds) tryAgainIn(Number(waitSeconds));
