/** The front page: the lectures, what is live first. */
import { html, render, type TemplateResult } from 'lit';
import { listBroadcasts, type Broadcast } from '../api';
import { duration } from '../core/format';
import { TICKS_PER_SECOND } from '../core/time';
import '../style/index.css';
import '../style/page.css';
import { element } from './element';

const REFRESH_MS = 10_000;
const list = element('#lectures');

void refresh();
setInterval(() => {
  if (document.visibilityState === 'visible') void refresh();
}, REFRESH_MS);

async function refresh(): Promise<void> {
  try {
    const broadcasts = await listBroadcasts();
    render(broadcasts.length === 0 ? empty() : groups(broadcasts), list);
  } catch (error) {
    const words = error instanceof Error ? error.message : 'The server does not answer.';
    render(html`<h1>Lectures</h1><p class="notice bad" role="alert">${words}</p>`, list);
  }
}

function groups(broadcasts: readonly Broadcast[]): TemplateResult {
  const of = (state: Broadcast['state']) => broadcasts.filter((broadcast) => broadcast.state === state).sort(newestFirst);
  return html`<h1>Lectures</h1>
    ${group('Live now', of('live'))} ${group('Coming up', of('waiting'))} ${group('Watch again', of('ended'))}`;
}

const newestFirst = (a: Broadcast, b: Broadcast): number => (b.origin ?? 0) - (a.origin ?? 0) || a.title.localeCompare(b.title);

const group = (title: string, broadcasts: readonly Broadcast[]): TemplateResult | '' =>
  broadcasts.length === 0 ? '' : html`<section><h2>${title}</h2><ul class="cards">${broadcasts.map(card)}</ul></section>`;

const card = (broadcast: Broadcast): TemplateResult => html`<li>
  <a class="card ${broadcast.state}" href="/watch/${broadcast.id}">
    <span class="plate" aria-hidden="true">${Array.from(broadcast.title)[0] ?? ''}</span>
    <span class="text">
      <b>${broadcast.title}</b>
      <span class="when">${when(broadcast)}</span>
    </span>
    ${broadcast.state === 'live' ? html`<span class="badge live">Live</span>` : ''}
  </a>
</li>`;

function when({ state, origin, duration: ticks }: Broadcast): string {
  if (origin === null) return 'Not started yet';
  const began = new Date(origin);
  if (state === 'live') return `Began at ${began.toLocaleTimeString(undefined, { timeStyle: 'short' })}`;
  const date = began.toLocaleDateString(undefined, { dateStyle: 'medium' });
  return ticks === null ? date : `${date} · ${duration(ticks / TICKS_PER_SECOND)}`;
}

const empty = (): TemplateResult => html`<h1>No lectures yet</h1>
  <p class="lead">A lecture appears here as soon as somebody begins one. It takes two steps.</p>
  <ol class="steps">
    <li>
      <h2>Make a host token</h2>
      <p>On the machine that runs Lectern, for a lecture called <code>algebra-1</code>:</p>
      <pre><code>lectern token --broadcast algebra-1 --role host</code></pre>
    </li>
    <li>
      <h2>Go on air</h2>
      <p>In a browser, open <code>${location.origin}/studio/algebra-1#token=…</code> with that token.</p>
      <p>In OBS, choose the service <b>WHIP</b> with the server <code>${location.origin}/whip/algebra-1</code> and the token as the bearer token.</p>
    </li>
  </ol>`;
