/**
 * `<lectern-room>`: the room beside the picture.
 *
 * At the live edge messages show on arrival, in the order of the room. Rewound, and in the replay, the room shows
 * what stood there then, by the position of its `playhead`.
 */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import type { Broadcast } from '../api';
import { isRewound } from '../core/edge';
import { positionTime } from '../core/format';
import type { Message } from '../core/message';
import { shownUpTo, type View } from '../core/replay';
import { TICKS_PER_MS, type Ticks } from '../core/time';
import { EMPTY } from '../core/wire';
import { guestToken, rememberGuest } from '../identity';
import { MOVED, SHOWN, type Playhead } from '../playhead';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import './composer';
import { Connection, type Published, type Returned } from './connection';
import './guest-form';
import css from './lectern-room.css?inline';
import './lectern-messages';
import type { Act, LecternMessages, Mode } from './lectern-messages';
import { ReplaySource } from './replay-source';

/** The position is looked at at least this often while it plays. */
const LOOK_MS = 1_000;
/** Tells `roomchange` when its connection, line or clock changed. */
export class LecternRoom extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { broadcast: { attribute: false }, playhead: { attribute: false }, token: { attribute: false } };
  declare broadcast: Broadcast | null;
  /** Without one (the studio) the server stamps what is written. */
  declare playhead: Playhead | null;
  /** Of the link; guests get theirs here. */
  declare token: string | undefined;

  connection: Connection | null = null;
  #source: ReplaySource | null = null;
  #mode: Mode = 'live';
  /** Once there is somewhere to write, it gets the focus. */
  #toCompose = false;
  #view: View | null = null;
  #newAtEdge = 0;
  #complaint = '';
  /** The composer was there. */
  #wrote = false;
  #look: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.broadcast = null;
    this.playhead = null;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#look);
    this.connection?.close();
    this.connection = null;
    this.#leave(this.playhead);
  }

  /** What is in the list now, oldest first. */
  get messages(): readonly Message[] {
    if (this.#mode !== 'live') return this.#view?.messages ?? [];
    return this.connection?.room.log.messages ?? [];
  }

  get mode(): Mode {
    return this.#mode;
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('playhead')) {
      this.#leave(changed.get('playhead') as Playhead | null | undefined);
      this.playhead?.addEventListener(MOVED, this.#follow);
      this.playhead?.addEventListener(SHOWN, this.#glance);
    }
    if (changed.has('broadcast') && this.broadcast) this.#open(this.broadcast);
  }

  override render() {
    return html`
      <header>
        <h2>${this.#mode === 'live' ? 'Room' : 'Room, as it was'}</h2>
        ${this.#presence()}
      </header>
      ${this.#banner()}
      ${this.#list()}
      <footer>${this.#footer()}</footer>
    `;
  }

  protected override updated(): void {
    this.#compose();
  }

  // --- what is shown

  #presence() {
    const room = this.connection?.room;
    if (room?.status === 'reconnecting') return html`<span class="badge" role="status">Reconnecting…</span>`;
    if (this.#mode === 'replay' || room?.present == null) return nothing;
    return html`<span class="badge present" title="People here now">${icons.people}<span class="unseen">People here now:</span> ${room.present}</span>`;
  }

  #banner() {
    if (this.#mode !== 'rewound') return nothing;
    const position = this.playhead?.mediaTicks;
    const fresh = this.#newAtEdge > 0 ? `${this.#newAtEdge} new at the live edge` : 'Back to live';
    return html`<div class="banner">
      <span>At ${position == null ? '…' : positionTime(position)}</span>
      <button class="button small edge" @click=${() => this.playhead?.goLive()}>${fresh} →</button>
    </div>`;
  }

  #list(): TemplateResult {
    const room = this.connection?.room;
    const live = this.#mode === 'live';
    return html`<lectern-messages
      .messages=${this.messages}
      .waiting=${[...(room?.unsent ?? [])]}
      .why=${room?.status === 'joined' ? 'Sending…' : 'Will be sent when the connection is back'}
      .you=${room?.you ?? null}
      .state=${(live ? room?.state : this.#view?.state) ?? EMPTY}
      .mode=${this.#mode}
      .writable=${room?.status === 'joined' && !this.#ended}
      .ended=${this.#ended}
      .earlier=${live ? room?.earlier() != null : (this.#view?.earlier ?? false)}
      .empty=${this.#emptiness()}
      .files=${this.broadcast ? `/broadcasts/${this.broadcast.id}/files` : ''}
      .offsetMs=${room?.clock.offsetMs ?? 0}
      @earlier=${this.#showEarlier}
      @act=${this.#act}></lectern-messages>`;
  }

  get #messages(): LecternMessages | null {
    return this.renderRoot.querySelector('lectern-messages');
  }

  #showEarlier(): void {
    if (this.#mode === 'live') void this.connection?.loadEarlier();
    else {
      this.#source?.replay.showMore();
      this.#showReplay();
    }
  }

  #act({ detail: { what, message } }: CustomEvent<Act>): void {
    this.#complaint = '';
    if (what === 'delete') this.connection?.delete(message.seq);
  }

  #emptiness(): string {
    if (this.#mode === 'replay') return 'Messages appear as the lecture plays.';
    if (this.#mode === 'rewound') return 'Nothing was written up to here.';
    return this.connection?.room.status === 'joined' ? 'Nobody has written yet. Questions are welcome.' : 'Entering the room…';
  }

  #footer() {
    const room = this.connection?.room;
    const complaint = this.#complaint ? html`<p class="notice bad" role="alert">${this.#complaint}</p>` : nothing;
    const closed = this.#closed;
    this.#wrote ||= closed === null;
    // Once there it stays, with what was typed in it, whatever becomes of the room.
    return html`${complaint}${closed ?? nothing}${this.#wrote ? this.#composer(room?.limits.body ?? 1000, closed !== null) : nothing}`;
  }

  /** Why one cannot write now; null where one can. */
  get #closed(): TemplateResult | typeof nothing | null {
    const room = this.connection?.room;
    if (this.#ended) return html`<p class="notice">The lecture is over. The room follows the replay and can be read, not written.</p>`;
    if (room?.status === 'refused') return html`<p class="notice bad" role="alert">${room.refusal}</p>`;
    if (!room?.you) return nothing;
    if (room.you.role !== 'viewer') return null;
    if (!this.broadcast?.guests) return html`<p class="notice">Only invited participants can write here.</p>`;
    return html`<lectern-guest-form .broadcast=${this.broadcast.id} @admitted=${this.#admitted}></lectern-guest-form>`;
  }

  #composer(limit: number, closed: boolean): TemplateResult {
    const position = this.playhead?.mediaTicks;
    const hint = !closed && this.#mode === 'rewound' && position != null ? `Will stand at ${positionTime(position)}, where you are watching` : '';
    return html`<lectern-composer .limit=${limit} .hint=${hint} .closed=${closed} placeholder="Write a message" @say=${this.#say}></lectern-composer>`;
  }

  get #ended(): boolean {
    return this.broadcast?.state === 'ended' || this.connection?.room.line?.state === 'ended';
  }

  // --- the connection

  #open(broadcast: Broadcast): void {
    this.#source ??= new ReplaySource(broadcast.chat, () => this.#showReplay());
    // What is over is read from the replay folder; only who may still delete needs the server.
    if (!this.connection && (broadcast.state !== 'ended' || this.token)) this.#connect(broadcast);
    this.#follow();
  }

  #connect(broadcast: Broadcast): void {
    const connection = new Connection(broadcast.room, this.token ?? guestToken(broadcast.id));
    this.connection = connection;
    connection.addEventListener('change', () => this.#changed());
    connection.addEventListener('publish', (event) => this.#published((event as CustomEvent<Published>).detail));
    connection.addEventListener('return', (event) => this.#returned((event as CustomEvent<Returned>).detail));
    connection.addEventListener('complain', (event) => this.#complain((event as CustomEvent<string>).detail));
    connection.addEventListener('unauthorized', () => this.#forgetGuest(broadcast));
  }

  #changed(): void {
    this.requestUpdate();
    this.dispatchEvent(new Event('roomchange'));
  }

  #published({ events, fresh }: Published): void {
    this.#source?.replay.add(events);
    if (!fresh) this.#source?.expire();
    if (this.#mode !== 'live') {
      const you = this.connection?.room.you?.id;
      if (fresh) this.#newAtEdge += events.filter((event) => event.kind === 'text' && !event.deleted && event.author.id !== you).length;
      this.#showReplay();
    } else if (fresh) this.#messages?.arrived(events, this.messages);
  }

  #say(event: CustomEvent<string>): void {
    // The moment that this reader sees, not the moment at which the message arrives.
    const playing = this.playhead?.playingDate?.getTime() ?? null;
    if (this.connection?.say(event.detail, playing)) this.#messages?.toEnd();
    else {
      event.preventDefault();
      this.#complain('There are too many unsent messages. Wait until the connection is back.');
    }
    this.requestUpdate();
  }

  #returned({ body, message, retryAfterMs }: Returned): void {
    this.renderRoot.querySelector('lectern-composer')?.giveBack(body, message, retryAfterMs);
  }

  #complain(message: string): void {
    this.#complaint = message;
    this.requestUpdate();
  }

  #admitted(event: CustomEvent<string>): void {
    if (!this.broadcast) return;
    rememberGuest(this.broadcast.id, event.detail);
    this.connection?.identify(event.detail);
    this.#toCompose = true;
    this.requestUpdate();
  }

  /** Who has just given a name wants to write; the composer is there once the room has let them in. */
  #compose(): void {
    const composer = this.#toCompose ? this.renderRoot.querySelector('lectern-composer') : null;
    if (!composer) return;
    this.#toCompose = false;
    void composer.updateComplete.then(() => composer.focus());
  }

  /** A guest's token ends with its time; the name is asked again. A link's token is not ours to forget. */
  #forgetGuest(broadcast: Broadcast): void {
    if (this.token || guestToken(broadcast.id) === undefined) return;
    rememberGuest(broadcast.id, undefined);
    this.connection?.identify(undefined);
  }

  // --- the position

  readonly #follow = (): void => {
    const mode = this.#modeNow();
    if (mode !== this.#mode) this.#turn(mode);
    this.#showReplay();
  };

  /** With each picture: two comparisons, mostly. */
  readonly #glance = (): void => {
    const [view, position] = [this.#view, this.#position];
    if (this.#mode === 'live' || !view || position === null) return;
    if (position < view.from || position >= view.until) this.#showReplay();
  };

  #leave(playhead: Playhead | null | undefined): void {
    playhead?.removeEventListener(MOVED, this.#follow);
    playhead?.removeEventListener(SHOWN, this.#glance);
  }

  #modeNow(): Mode {
    if (!this.playhead) return 'live';
    if (this.#ended) return 'replay';
    const behind = this.playhead.latencyMs;
    return !this.playhead.following && behind !== null && isRewound(this.#mode === 'rewound', behind) ? 'rewound' : 'live';
  }

  #turn(mode: Mode): void {
    this.#mode = mode;
    [this.#newAtEdge, this.#view] = [0, null];
    this.#source?.replay.showLess();
    this.#source?.expire();
    this.requestUpdate();
  }

  /** Up to where messages show. */
  get #position(): Ticks | null {
    const position = this.playhead?.mediaTicks ?? null;
    const duration = this.broadcast?.duration ?? this.connection?.room.line?.duration ?? null;
    return position === null ? null : shownUpTo(position, this.#ended ? duration : null);
  }

  /** Costs a comparison while nothing new stands at the position. */
  #showReplay(): void {
    clearTimeout(this.#look);
    const source = this.#source;
    if (this.#mode === 'live' || !source) return;
    const position = this.#position ?? 0;
    source.follow(position, this.#ended);
    const view = source.replay.at(position);
    if (view !== this.#view) {
      // A jump back: the list is another one.
      if (this.#view && position < this.#view.from) this.#messages?.toEnd();
      this.#view = view;
      this.requestUpdate();
    } else if (this.#mode === 'rewound') this.requestUpdate();
    this.#lookAgain(view.until - position);
  }

  /** When the next message's turn comes; the playhead tells of everything else. */
  #lookAgain(ticks: number): void {
    const rate = this.playhead?.rate ?? 0;
    if (rate <= 0) return;
    this.#look = setTimeout(() => this.#showReplay(), Math.max(1, Math.min(LOOK_MS, ticks / TICKS_PER_MS / rate)));
  }

}

customElements.define('lectern-room', LecternRoom);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-room': LecternRoom;
  }
}
