/** The watch page: the player, and the room beside it. */
import { html, nothing, render, type TemplateResult } from 'lit';
import type { Broadcast } from '../api';
import { BroadcastFollower } from '../broadcast-follower';
import { duration } from '../core/format';
import { TICKS_PER_SECOND } from '../core/time';
import { broadcastOfPage, tokenOfLink } from '../identity';
import '../player/lectern-player';
import '../room/lectern-room';
import { icons } from '../style/icons';
import '../style/page.css';
import '../style/watch.css';
import { element } from './element';

const player = element('lectern-player');
const room = element('lectern-room');
const follower = new BroadcastFollower(broadcastOfPage());

room.token = tokenOfLink();
room.playhead = player;
room.addEventListener('roomchange', () => {
  const connection = room.connection?.room;
  if (!connection) return;
  player.clock = connection.clock;
  if (connection.line) follower.learn(connection.line);
});
follower.addEventListener('change', show);
void follower.refresh();

function show(): void {
  const { broadcast, problem } = follower;
  player.broadcast = broadcast;
  room.broadcast = broadcast;
  document.title = broadcast ? `${broadcast.title} · Lectern` : 'Lectern';
  render(broadcast ? badge(broadcast) : nothing, element('#state'));
  render(broadcast ? about(broadcast) : missing(problem?.status, problem?.message), element('#about'));
}

function badge({ state }: Broadcast): TemplateResult {
  if (state === 'live') return html`<span class="badge live">Live</span>`;
  return html`<span class="badge">${state === 'ended' ? 'Replay' : 'Not started'}</span>`;
}

const about = (broadcast: Broadcast): TemplateResult => html`<div class="titled">
    <div><h1>${broadcast.title}</h1><p>${when(broadcast)}</p></div>
    ${broadcast.recording ? html`<a class="button download" href=${broadcast.recording} download aria-label="Download">${icons.download}<span>Download</span></a>` : nothing}
  </div>`;

function when({ state, origin, duration: ticks }: Broadcast): string {
  if (origin === null) return 'The room is open; the lecture has not started yet.';
  const began = new Date(origin).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short' });
  if (state === 'live') return `Began ${began}`;
  return ticks === null ? began : `${began} · ${duration(ticks / TICKS_PER_SECOND)}`;
}

const missing = (status: number | undefined, message = ''): TemplateResult =>
  status === 404
    ? html`<h1>There is no such lecture</h1><p>Check the link. If the lecture has not been set up yet, it appears here as soon as it is. <a href="/">All lectures</a></p>`
    : html`<p class="notice bad" role="alert">${message}</p>`;
