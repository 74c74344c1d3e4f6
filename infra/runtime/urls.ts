// URLs in settings: several in one, and how they are shown.

/** The URLs of a list separated by commas. A comma within a URL stays. */
export const splitUrls = (list: string): string[] => list.split(/,\s*(?=[a-z]+:\/\/)/);
