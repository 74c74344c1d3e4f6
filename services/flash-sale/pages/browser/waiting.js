// What the pages that wait have in common. It is put into them as text: see page.ts.

/** @param {string} id */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * Tells a screen reader, once: what has been said already is not repeated.
 * @param {string} text
 */
export function announce(text) {
  const announcement = element('announcement');
  if (announcement.textContent !== text) announcement.textContent = text;
}

/**
 * A duration in words; words.ts has the same.
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
 * Doubles from 2 s to 30 s with every failure in a row.
 * @param {number} failures at least 1
 */
export const backoffSeconds = (failures) => Math.min(30, 2 ** failures);

/**
 * An alarm that is set for one time at most. A tab that slept is late only until it is seen again.
 * @param {(secondsLeft: number) => void} onTick about once a second while it is set
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
 * Asks for JSON. Undefined where no answer came in 15 s; `body` is empty where it is no JSON; `retryAfter` is in
 * seconds, 0 where the answer does not say.
 * @param {string} url
 * @param {unknown} [json] posted, where it is given
 */
export async function ask(url, json) {
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
