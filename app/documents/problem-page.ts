// GET /problems/:name: what a problem means; the `type` of an error response is this path.
import { type ProblemName, problems } from '../../contracts/problems.ts';
import { problemsOf, type Route } from '../../contracts/routes/route.ts';
import { htmlPage, type Page } from '../../infra/documents/page/page.ts';
import { inline } from '../../infra/documents/page/text.ts';
import { html } from '../../infra/http/html.ts';

/** Paths of this server, as the browser reaches them. */
export interface ProblemPageLinks {
  readonly style: string;
  readonly docs: string;
}

/** `routes`: those of the process. */
export function problemPage(name: ProblemName, routes: readonly Route[], { style, docs }: ProblemPageLinks): Page {
  const { status, about } = problems[name];
  const users = routes.filter((route) => problemsOf(route).includes(name));
  const body = html`<header>
<h1>${name}</h1>
<p>A response with status ${status} and a body of <code>application/problem+json</code>, as in RFC 9457. <a href="${docs}">All routes and events</a></p>
</header>
<main>
<p>${inline(about)}</p>
${
  users.length > 0 &&
  html`<h2>Requests that may get it</h2>
<ul>
${users.map(
  ({
    method,
    path,
    summary,
  }) => html`<li><code>${method.toUpperCase()} ${path}</code> <span class="quiet">${summary}</span></li>
`,
)}</ul>
`
}</main>
`;
  return htmlPage({ title: `${name}: a problem`, style, body });
}
