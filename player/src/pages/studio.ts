/** The studio page: publishing, and the room with its moderation. */
import { html, nothing, render } from 'lit';
import type { Broadcast } from '../api';
import { BroadcastFollower } from '../broadcast-follower';
import { broadcastOfPage, sourceOf, tokenOfLink } from '../identity';
import '../room/lectern-room';
import '../studio/lectern-studio';
import '../style/page.css';
import '../style/studio.css';
import { element } from './element';

declare global {
  interface Window {
    /**
     * The seam for other sources than cameras and screens (a canvas, a slide renderer, a test): what is given here is
     * previewed and published in place of the devices, also while on air; `null` gives the devices back.
     * `useScreen` shares one as the screen. `start` and `stop` are the page's own buttons.
     */
    lecternStudio: {
      useStream(stream: MediaStream | null): void;
      useScreen(stream: MediaStream | null): void;
      start(takeover?: boolean): Promise<void>;
      stop(): Promise<void>;
    };
  }
}

const studio = element('lectern-studio');
const room = element('lectern-room');
const id = broadcastOfPage();
const follower = new BroadcastFollower(id);

studio.token = room.token = tokenOfLink();
studio.source = sourceOf(studio.token);
room.addEventListener('roomchange', () => {
  const line = room.connection?.room.line;
  if (line) follower.learn(line);
});
studio.addEventListener('ended', () => void follower.refresh());
follower.addEventListener('change', show);
void follower.refresh();

window.lecternStudio = {
  useStream: (stream) => studio.capture.hand(stream),
  useScreen: (stream) => (stream ? studio.screen.use(stream) : studio.screen.stop()),
  start: async (takeover) => studio.air?.start(takeover),
  stop: async () => studio.air?.stop(),
};

function show(): void {
  const { broadcast, problem } = follower;
  const unmade = problem?.status === 404 && broadcast === null;
  studio.broadcast = unmade ? toBeMade() : broadcast;
  room.broadcast = broadcast;
  element('#title').textContent = broadcast?.title ?? 'Studio';
  document.title = broadcast ? `${broadcast.title} · Studio` : 'Studio · Lectern';
  const words = unmade ? 'Made when you go on air' : problem?.message;
  render(problem ? html`<span class="badge" role="status">${words}</span>` : nothing, element('#state'));
}

/** A host's first publish makes the broadcast. */
const toBeMade = (): Broadcast => ({ id, title: id, state: 'waiting', on_air: false, origin: null, duration: null, guests: false, hls: '', room: '', chat: '', recording: null });
