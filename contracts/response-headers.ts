// The headers of responses that clients need.

/** What each header says. */
export const responseHeaders = {
  Location: 'The URL of the resource.',
  'Idempotency-Replayed': '`true`: an earlier request with this key had the effect.',
  'Retry-After': 'When to try again, in seconds.',
  'RateLimit-Policy': 'The limit that was reached: its name, what it allows (`q`), and its window in seconds (`w`).',
  RateLimit: 'What is left of the limit (`r`), and in how many seconds it is whole again (`t`).',
  Allow: 'The methods that the resource has.',
  'Set-Cookie': 'The session.',
} as const;
export type ResponseHeader = keyof typeof responseHeaders;
