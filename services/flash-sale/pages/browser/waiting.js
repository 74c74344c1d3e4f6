// Shared by the pages that wait; page.ts copies this file into their scripts.

/** @param {string} id */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** The line about what the page is doing. @param {string} text */
export function showState(text) {
  element('state').textContent = text;
}

/** @param {string} title @param {string} detail @param {string | undefined} sale its name */
export function showMessage(title, detail, sale) {
  element('title').textContent = title;
  element('detail').textContent = detail;
  document.title = `${title} – ${sale}`;
}

/**
 * Makes a screen reader say something; the same text is not said twice in a row.
 * @param {string} text
 */
export function announce(text) {
  const announcement = element('announcement');
  if (announcement.textContent !== text) announcement.textContent = text;
}

/**
 * A duration, rounded up; messages.ts writes it the same way.
 * @param {number} seconds
 */
export function about(seconds) {
  /** @type {[number, string]} */
  const [size, unit] =
    seconds < 90 ? [1, 'second'] : seconds < 5400 ? [60, 'minute'] : seconds < 172800 ? [3600, 'hour'] : [86400, 'day'];
  const amount = Math.max(1, Math.ceil(seconds / size));
  return `${amount} ${unit}${amount === 1 ? '' : 's'}`;
}

/**
 * The pause after a failed request: 2 s, doubled with every further failure up to 30 s, or longer if the server says
 * so.
 * @param {number} failures in a row, at least 1
 * @param {number | undefined} retryAfter in seconds
 */
export const backoffSeconds = (failures, retryAfter = 0) => Math.max(retryAfter, Math.min(30, 2 ** failures));

/**
 * An alarm with at most one due time: setting it again replaces the earlier time. In a tab that slept it rings as soon
 * as the tab is visible again.
 * @param {(secondsLeft: number) => void} onTick about once a second while the alarm is set
 */
export function createAlarm(onTick) {
  let due = 0;
  /** @type {(() => void) | undefined} */
  let ring;
  /** @type {number | undefined} */
  let timer;

  function check() {
    clearTimeout(timer);
    if (!ring) return;
    const left = due - Date.now();
    if (left > 0) {
      onTick(left / 1000);
      timer = setTimeout(check, Math.min(left, 1000));
      return;
    }
    const action = ring;
    ring = undefined;
    action();
  }

  document.addEventListener('visibilitychange', check);
  return {
    /** @param {number} seconds @param {() => void} action */
    set(seconds, action) {
      due = Date.now() + seconds * 1000;
      ring = action;
      check();
    },
    clear() {
      ring = undefined;
      clearTimeout(timer);
    },
  };
}

/**
 * Requests JSON. Resolves with undefined if there is no response within 15 s. `body` is empty if it is not JSON;
 * `retryAfter` is in seconds, 0 if the response names none.
 * @param {string} url
 * @param {unknown} [json] posted, if given
 */
export async function request(url, json) {
  try {
    const response = await fetch(url, {
      headers: { Accept: 'application/json', ...(json === undefined ? {} : { 'Content-Type': 'application/json' }) },
      cache: 'no-store',
      signal: AbortSignal.timeout(15000),
      ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    });
    const body = (await response.json().catch(() => undefined)) ?? {};
    return { status: response.status, retryAfter: Number(response.headers.get('Retry-After')) || 0, body };
  } catch {
    return undefined;
  }
}
