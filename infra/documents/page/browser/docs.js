// The search of the page: shows the entries that contain every word of the query, and hides the others, the headings
// left without an entry, and the links to them.

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

const query = /** @type {HTMLInputElement} */ (element('query'));
const found = element('found');

/** @param {string} selector @param {ParentNode | null} [within] */
const all = (selector, within = document) =>
  /** @type {HTMLElement[]} */ ([...(within?.querySelectorAll(selector) ?? [])]);

const entries = all('.entry').map((entry) => ({ entry, text: (entry.textContent ?? '').toLowerCase() }));
const links = all('nav li').map((item) => ({ item, target: item.querySelector('a')?.hash.slice(1) ?? '' }));
const groups = all('.group, .part');

/** In the contents, a part is a closed list unless it has results. */
const lists = all('nav details').map((list) => ({ list, wasOpen: list.hasAttribute('open') }));

function search() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = new Set();
  for (const { entry, text } of entries) {
    entry.hidden = !words.every((word) => text.includes(word));
    if (!entry.hidden) shown.add(entry.id);
  }
  for (const group of groups) group.hidden = all('.entry', group).every(({ hidden }) => hidden);
  for (const { item, target } of links) item.hidden = !shown.has(target);
  for (const title of all('nav p')) title.hidden = all('li:not([hidden])', title.nextElementSibling).length === 0;
  for (const { list, wasOpen } of lists) {
    const results = all('li', list).filter(({ hidden }) => !hidden).length;
    list.hidden = results === 0;
    list.toggleAttribute('open', words.length > 0 || wasOpen);
  }
  element('about').hidden = words.length > 0;
  found.textContent = words.length > 0 ? `${shown.size} of ${entries.length} entries` : '';
}

function clear() {
  query.value = '';
  search();
}

query.addEventListener('input', search);
query.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') clear();
});
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || document.activeElement === query) return;
  event.preventDefault();
  query.focus();
});
// A link within an entry may lead to one that the search hides.
addEventListener('hashchange', () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.hidden) return;
  clear();
  target.scrollIntoView();
});

element('search').hidden = false;
// The browser may have kept the query of an earlier visit.
search();
