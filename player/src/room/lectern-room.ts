/**
 * `<lectern-room>`: the room beside the picture.
 *
 * At the live edge messages show on arrival, in the order of the room. Rewound, and in the replay, the room shows
 * what stood there then, by the position of its `playhead`.
 */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { Broadcast } from '../api';
import { Announcer } from '../core/announcer';
import { isRewound } from '../core/edge';
import { positionTime } from '../core/format';
import type { Message } from '../core/message';
import { shownUpTo, type View } from '../core/replay';
import { TICKS_PER_MS, type Ticks } from '../core/time';
import type { TextEvent } from '../core/wire';
import { guestToken, rememberGuest } from '../identity';
import { MOVED, SHOWN, type Playhead } from '../playhead';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import './composer';
import { Connection, type Published, type Returned } from './connection';
import './guest-form';
import css from './lectern-room.css?inline';
import { messageItem, unsentItem } from './message-item';
import { ReplaySource } from './replay-source';

/** Elements in the page; the log keeps more. */
const RENDERED = 200;
/** Nearer to the bottom than this is "at the bottom". */
const BOTTOM_PX = 48;
/** Later than this the same person is named again. */
const CONTINUED_MS = 120_000;
/** The position is looked at at least this often while it plays. */
const LOOK_MS = 1_000;
/** Long enough in the page for a screen reader to notice. */
const ANNOUNCE_MS = 1_000;

type Mode = 'live' | 'rewound' | 'replay';

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
  #rendered = RENDERED;
  /** At the bottom, and staying there. */
  #stuck = true;
  #scrollTop = 0;
  #resizes = new ResizeObserver(() => this.#keepAtBottom());
  #unread = 0;
  #confirming: number | null = null;
  #active: number | null = null;
  #complaint = '';
  /** The composer was there. */
  #wrote = false;
  #announcer = new Announcer();
  #said = '';
  #announcing: ReturnType<typeof setInterval> | undefined;
  #look: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.broadcast = null;
    this.playhead = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#announcing = setInterval(() => this.#announce(), ANNOUNCE_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#announcing);
    clearTimeout(this.#look);
    this.connection?.close();
    this.connection = null;
    this.#leave(this.playhead);
  }

  /** What is in the list now, oldest first. */
  get messages(): readonly Message[] {
    if (this.#mode !== 'live') return this.#view?.messages ?? [];
    return this.connection?.room.log.messages.slice(-this.#rendered) ?? [];
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
      <div class="scroll">
        <ol role="log" aria-live="off" aria-label="Messages; arrow keys go from one to the next" tabindex="0"
          @scroll=${this.#scrolled} @keydown=${this.#walk} @focusin=${this.#activated}>${this.#list()}</ol>
        ${this.#unread > 0 && !this.#stuck
          ? html`<button class="button small primary newer" @click=${this.#toBottom}>${icons.down} ${this.#unread} new</button>`
          : nothing}
      </div>
      <footer>${this.#footer()}</footer>
      <div class="unseen" role="status" aria-live="polite">${this.#said}</div>
    `;
  }

  protected override firstUpdated(): void {
    // What stands below the list grows and shrinks: a form, a hint, a phone's keyboard.
    if (this.#listElement) this.#resizes.observe(this.#listElement);
  }

  protected override updated(): void {
    this.#keepAtBottom();
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

  #list() {
    const messages = this.messages;
    const unsent = this.connection?.room.unsent ?? [];
    if (messages.length === 0 && unsent.length === 0) return html`<li class="empty">${this.#emptiness()}</li>`;
    const why = this.connection?.room.status === 'joined' ? 'Sending…' : 'Will be sent when the connection is back';
    return html`
      ${this.#mode === 'live' && this.#hasEarlier() ? html`<li class="earlier"><button class="button small" @click=${this.#showEarlier}>Earlier messages</button></li>` : nothing}
      ${repeat(messages, ({ seq }) => seq, (message, i) => this.#item(message, messages[i - 1]))}
      ${unsent.map(({ body }) => unsentItem(body, why))}
    `;
  }

  #item(message: Message, before: Message | undefined): TemplateResult {
    const you = this.connection?.room.you;
    const own = you?.id === message.author.id;
    const moderates = you?.role === 'host' || you?.role === 'moderator';
    const continued = before?.author.id === message.author.id && before.body !== null && message.at - before.at < CONTINUED_MS * TICKS_PER_MS;
    const onDelete = moderates || (own && this.#mode === 'live') ? (step: 'ask' | 'yes' | 'no') => this.#delete(message.seq, step) : null;
    return messageItem({ message, continued, own, confirming: this.#confirming === message.seq, active: this.#active === message.seq, onDelete });
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
    const texts = events.filter((event): event is TextEvent => event.kind === 'text' && !event.deleted);
    if (this.#mode !== 'live') {
      const you = this.connection?.room.you?.id;
      if (fresh) this.#newAtEdge += texts.filter(({ author }) => author.id !== you).length;
      this.#showReplay();
      return;
    }
    if (!fresh) return;
    if (!this.#stuck) this.#unread += texts.length;
    const you = this.connection?.room.you?.id;
    const arrived = new Set(texts.map(({ seq }) => seq));
    this.#announcer.add(this.messages.filter(({ seq, author }) => arrived.has(seq) && author.id !== you));
  }

  #say(event: CustomEvent<string>): void {
    // The moment that this reader sees, not the moment at which the message arrives.
    const playing = this.playhead?.playingDate?.getTime() ?? null;
    if (this.connection?.say(event.detail, playing)) this.#stuck = true;
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

  #delete(seq: number, step: 'ask' | 'yes' | 'no'): void {
    this.#confirming = step === 'ask' ? seq : null;
    this.#complaint = '';
    if (step === 'yes') this.connection?.delete(seq);
    this.requestUpdate();
    // The button that had the focus is gone.
    void this.updateComplete.then(() => this.#focusIn(step === 'ask' ? seq : null));
  }

  #focusIn(seq: number | null): void {
    const button = seq === null ? null : this.renderRoot.querySelector<HTMLElement>(`[data-seq="${seq}"] .confirm button`);
    (button ?? this.#listElement)?.focus({ preventScroll: true });
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
    [this.#newAtEdge, this.#unread, this.#stuck, this.#view] = [0, 0, true, null];
    [this.#announcer, this.#said] = [new Announcer(), ''];
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
      // A jump back, or far ahead: the list is another one.
      if (this.#view && position < this.#view.from) this.#stuck = true;
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

  // --- scrolling

  get #listElement(): HTMLElement | null {
    return this.renderRoot.querySelector('ol');
  }

  #keepAtBottom(): void {
    const list = this.#listElement;
    if (list && this.#stuck) list.scrollTop = list.scrollHeight;
  }

  #scrolled(event: Event): void {
    const list = event.currentTarget as HTMLElement;
    const upwards = list.scrollTop < this.#scrollTop;
    this.#scrollTop = list.scrollTop;
    if (list.scrollHeight - list.scrollTop - list.clientHeight < BOTTOM_PX) this.#stuck = true;
    // Only somebody who scrolls up wants to stay there; a longer list or a smaller box is no wish.
    else if (upwards) this.#stuck = false;
    if (!this.#stuck || this.#unread === 0) return;
    this.#unread = 0;
    this.requestUpdate();
  }

  /** One Tab stop for the whole list: its messages are reached with the arrow keys. */
  #walk(event: KeyboardEvent): void {
    const step = event.key === 'ArrowUp' ? -1 : event.key === 'ArrowDown' ? 1 : 0;
    if (step === 0 || !this.#listElement) return;
    const items = [...this.#listElement.querySelectorAll<HTMLElement>('[data-seq]')];
    const at = items.findIndex((item) => item.contains(event.target as Node));
    const next = at < 0 ? items.at(-1) : items[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  #activated(event: FocusEvent): void {
    const seq = (event.target as Element).closest<HTMLElement>('[data-seq]')?.dataset.seq;
    const active = seq === undefined ? null : Number(seq);
    if (active === this.#active) return;
    this.#active = active;
    this.requestUpdate();
  }

  #toBottom(): void {
    [this.#stuck, this.#unread] = [true, 0];
    this.requestUpdate();
    this.#listElement?.focus({ preventScroll: true });
  }

  #hasEarlier(): boolean {
    const room = this.connection?.room;
    return room !== undefined && (room.log.messages.length > this.#rendered || room.earlier() !== null);
  }

  #showEarlier(): void {
    const room = this.connection?.room;
    this.#stuck = false;
    this.#rendered += RENDERED;
    if (room && room.log.messages.length < this.#rendered) void this.connection?.loadEarlier();
    this.requestUpdate();
  }

  #announce(): void {
    const said = this.#announcer.due(Date.now()) ?? '';
    // Emptied on the next turn: it was said, and must not be found by who reads the page.
    if (said === this.#said) return;
    this.#said = said;
    this.requestUpdate();
  }
}

customElements.define('lectern-room', LecternRoom);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-room': LecternRoom;
  }
}
