/**
 * `<lectern-messages>`: the list of a room's messages, of which only those near the eye are in the page.
 *
 * Messages in, events out. It follows its end while nobody reads: scrolling up, the pointer over it, the focus on a
 * message and the pause button each hold it still. Above the place that is read anything may come or go, and the place
 * stays. A rate that nobody can read is thinned, in the live room and for participants.
 *
 * Find-in-page finds what is near the eye only: what is not in the page cannot be found there.
 */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer, type Range, type VirtualizerOptions } from '@tanstack/virtual-core';
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { live } from 'lit/directives/live.js';
import { repeat } from 'lit/directives/repeat.js';
import { styleMap } from 'lit/directives/style-map.js';
import { actionsOn, type What } from '../core/actions';
import { Announcer, isHeard, type Loudness } from '../core/announcer';
import type { Syntax } from '../core/markup';
import { lowerBound, type Message } from '../core/message';
import { estimate, neighbour, rowsOf, unread, type Key, type Row, type Waiting } from '../core/rows';
import { Thinning, type Run } from '../core/thinning';
import { EMPTY, isStaff, type Person, type RoomEvent, type State } from '../core/wire';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import css from './lectern-messages.css?inline';
import { classesOf, messageItem, waitingItem, type Handlers } from './message-item';
import { preferences, remember } from './preferences';

/** Rows above and below the visible ones. */
const OVERSCAN = 12;
/** Nearer to the bottom than this is "at the bottom". */
const BOTTOM_PX = 48;
/** Nearer to the top than this and older messages are wanted. */
const TOP_PX = 600;
/** A scroll so soon after a key, a wheel, a finger is the reader's, not ours. */
const GESTURE_MS = 1_000;
/** A pointer that rests so long is not reading. */
const HOVER_MS = 8_000;
/** Long enough in the page for a screen reader to notice. */
const ANNOUNCE_MS = 1_000;
/** And long enough for what is urgent, whatever else is being said. */
const ALERT_MS = 10_000;
/** A message that was jumped to stands out so long. */
const FOUND_MS = 2_000;

export type Mode = 'live' | 'rewound' | 'replay';

/** Of the event `act`. */
export interface Act {
  what: Exclude<What, 'copy'>;
  message: Message;
}

/** Tells `act` (detail: Act) and `earlier` (older messages are wanted). */
export class LecternMessages extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = {
    messages: { attribute: false },
    // Another array each time; mostly an empty one.
    waiting: { attribute: false, hasChanged: (now: readonly Waiting[], before?: readonly Waiting[]) => now.length > 0 || (before?.length ?? 1) > 0 },
    why: { attribute: false },
    you: { attribute: false },
    state: { attribute: false },
    mode: { attribute: false },
    writable: { attribute: false },
    ended: { attribute: false },
    earlier: { attribute: false },
    empty: { attribute: false },
    files: { attribute: false },
    offsetMs: { attribute: false },
    rowsVersion: { state: true },
  };
  /** In their order: by `seq` live, by position else. Another list where anything changed. */
  declare messages: readonly Message[];
  /** One's own that are not among the messages yet, and why. */
  declare waiting: readonly Waiting[];
  declare why: string;
  declare you: Person | null;
  /** How the room stands where the list stands. */
  declare state: State;
  declare mode: Mode;
  /** One could write now. */
  declare writable: boolean;
  declare ended: boolean;
  /** There are older messages than these. */
  declare earlier: boolean;
  /** What stands in an empty list. */
  declare empty: string;
  /** The folder of attached files, without a slash at its end. */
  declare files: string;
  /** The server's clock less ours. */
  declare offsetMs: number;
  /** Counts what lays the rows anew beside the properties above. */
  declare protected rowsVersion: number;

  #rows: Row[] = [];
  #index = new Map<Key, number>();
  #bySeq = new Map<number, Message>();
  /** Everybody who has written: mentions are found by their names. */
  #people = new Map<string, string>();
  #thinning = new Thinning();
  #everything = preferences().everything;
  #loudness: Loudness = preferences().loudness;

  #virtualizer: Virtualizer<HTMLElement, HTMLElement>;
  #unmount: (() => void) | null = null;
  /** At the bottom, and staying there. */
  #stuck = true;
  #gestureAt = -Infinity;
  #scrollTop = 0;
  #hovered: ReturnType<typeof setTimeout> | undefined;
  /** The last message before the pause. */
  #pausedAt: number | null = null;
  #lastSeen: Message | null = null;
  #unread = 0;
  #asked: number | null = null;
  /** Where the eye was, in case that message goes: rows from there on, and how far below the top they stood. */
  #place: { key: Key; top: number }[] = [];

  #active: Key | null = null;
  /** The row that has the focus, so that it is not lost with it. */
  #focused: Key | null = null;
  #rendering = false;
  /** The row that shall have it as soon as it is there. */
  #toFocus: Key | null = null;
  #confirming: number | null = null;
  #found: number | null = null;
  #menu: { message: Message; actions: What[]; from: Key } | null = null;

  #announcer = new Announcer();
  #said = '';
  #urgent = '';
  #alerting: ReturnType<typeof setTimeout> | undefined;
  #announcing: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    [this.messages, this.waiting, this.why, this.you, this.state, this.mode] = [[], [], '', null, EMPTY, 'live'];
    [this.writable, this.ended, this.earlier, this.empty, this.files, this.offsetMs] = [false, false, false, '', '', 0];
    this.rowsVersion = 0;
    this.#virtualizer = new Virtualizer(this.#options());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#unmount = this.#virtualizer._didMount();
    this.#announcing = setInterval(() => this.#announce(), ANNOUNCE_MS);
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#unmount?.();
    clearInterval(this.#announcing);
    clearTimeout(this.#hovered);
    clearTimeout(this.#alerting);
  }

  // --- for the room

  /**
   * Events that happened just now, rather than before we came: they are announced, and thinned where they are too many.
   * `all`: the messages that the list is about to get, these among them.
   */
  arrived(events: readonly RoomEvent[], all: readonly Message[]): void {
    const messages = events.flatMap(({ kind, seq }) => (kind === 'text' ? (bySeq(all, seq) ?? []) : []));
    if (messages.length === 0) return;
    if (this.mode === 'live' && !isStaff(this.you)) this.#thinning.arrived(messages, performance.now(), (message) => this.#mustShow(message));
    this.#announcer.add(messages.filter((message) => isHeard(message, this.#loudness, this.you?.id, this.#isForYou(message))));
    this.rowsVersion += 1;
  }

  /** To the newest message, and stays there. Whoever writes wants to see it. */
  toEnd(): void {
    [this.#stuck, this.#pausedAt, this.#active] = [true, null, null];
    this.rowsVersion += 1;
  }

  /** To a message, which gets the focus. False where it is not here. */
  jumpTo(seq: number): boolean {
    const run = this.#thinning.runOf(seq);
    if (run) this.#thinning.show(run);
    if (!this.#bySeq.has(seq)) return false;
    [this.#stuck, this.#found] = [false, seq];
    setTimeout(() => {
      if (this.#found !== seq) return;
      this.#found = null;
      this.requestUpdate();
    }, FOUND_MS);
    this.rowsVersion += 1;
    this.#goTo(seq, 'center');
    return true;
  }

  /** Said at once, whatever else is being said: "You were muted." */
  alert(text: string): void {
    this.#urgent = text;
    clearTimeout(this.#alerting);
    // Gone again, so that nobody finds it later, and the same can be said once more.
    this.#alerting = setTimeout(() => this.alert(''), ALERT_MS);
    if (text === '') clearTimeout(this.#alerting);
    this.requestUpdate();
  }

  override focus(): void {
    this.#scroller?.focus({ preventScroll: true });
  }

  // --- what is shown

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('mode') && changed.get('mode') !== undefined) this.#turn();
    if (changed.has('messages')) this.#meet();
    if (isNews(changed)) this.#lay();
    this.#virtualizer.setOptions(this.#options());
    this.#count();
    this.#rendering = true;
  }

  override render() {
    return html`
      ${this.#toolbar()}
      <div class="room">
        <div class="scroller" role="log" aria-live="off" aria-label="Messages. The arrow keys go from one to the next." tabindex="0"
          @scroll=${this.#scrolled} @wheel=${{ handleEvent: this.#gesture, passive: true }} @touchmove=${{ handleEvent: this.#gesture, passive: true }} @pointerdown=${this.#gesture}
          @keydown=${this.#key} @focusin=${this.#focusedIn} @focusout=${this.#focusedOut} @pointermove=${this.#hover} @pointerleave=${this.#unhover}>
          ${this.#list()}
        </div>
        ${this.#newer()}
      </div>
      ${this.#menuPopover()}
      <div class="unseen" role="status" aria-live="polite">${this.#said}</div>
      <div class="unseen" role="alert">${this.#urgent}</div>
    `;
  }

  protected override firstUpdated(): void {
    const scroller = this.#scroller;
    // What stands below the list grows and shrinks: a form, a hint, a phone's keyboard.
    if (scroller) new ResizeObserver(() => this.#keepAtEnd()).observe(scroller);
  }

  protected override updated(changed: PropertyValues): void {
    this.#rendering = false;
    this.#virtualizer._willUpdate();
    for (const row of this.#elements()) this.#virtualizer.measureElement(row);
    this.#virtualizer.measureElement(null);
    if (isNews(changed)) this.#keepPlace();
    this.#keepAtEnd();
    this.#keepFocus();
    this.#wantEarlier();
  }

  #toolbar(): TemplateResult | typeof nothing {
    if (this.mode !== 'live') return nothing;
    const paused = this.#pausedAt !== null;
    return html`<div class="toolbar">
      <button class="button small quiet" @click=${this.#pause}>${paused ? icons.play : icons.pause} ${paused ? 'Resume chat' : 'Pause chat'}</button>
      <button class="button small quiet" popovertarget="options" aria-haspopup="dialog">${icons.gear} Options</button>
      <div id="options" class="popover" popover role="dialog" aria-label="Options of the chat" @toggle=${this.#optionsToggled}>
        <fieldset>
          <legend>Screen readers read out</legend>
          ${LOUDNESS.map(
            ([value, label]) => html`<label><input type="radio" name="loudness" value=${value} .checked=${live(this.#loudness === value)} @change=${() => this.#choose(value)}> ${label}</label>`,
          )}
        </fieldset>
        ${isStaff(this.you) ? nothing : html`<label><input type="checkbox" .checked=${live(this.#everything)} @change=${this.#toggleEverything}> Show every message, however fast they come</label>`}
      </div>
    </div>`;
  }

  #list(): TemplateResult {
    if (this.#rows.length === 0) return html`<p class="empty">${this.empty}</p>`;
    return html`
      ${this.earlier && this.mode === 'live' ? html`<button class="button small earlier" @click=${this.#showEarlier}>Earlier messages</button>` : nothing}
      <ol role="list" style=${styleMap({ height: `${this.#virtualizer.getTotalSize()}px` })}>
        ${repeat(this.#virtualizer.getVirtualItems(), ({ key }) => key, ({ index, start }) => this.#row(index, start))}
      </ol>`;
  }

  #row(index: number, start: number): TemplateResult {
    const row = this.#rows[index] as Row;
    const style = styleMap({ transform: `translateY(${start}px)` });
    const size = this.earlier ? -1 : this.#rows.length;
    if (row.kind === 'message') {
      const shown = this.#shown(row);
      return html`<li class=${classesOf(shown)} style=${style} data-index=${index} data-seq=${row.key} data-at=${row.message.at} aria-setsize=${size} aria-posinset=${index + 1} tabindex="-1">${messageItem(shown)}</li>`;
    }
    if (row.kind === 'waiting') {
      return html`<li class="message waiting" style=${style} data-index=${index} aria-setsize=${size} aria-posinset=${index + 1} tabindex="-1">${waitingItem(row.waiting.body, this.why)}</li>`;
    }
    const { run } = row;
    const what = run.count === 1 ? '1 message not shown' : `${run.count} messages not shown`;
    return html`<li class="note" style=${style} data-index=${index} aria-setsize=${size} aria-posinset=${index + 1} tabindex="-1">
      <span>${what}</span> <button class="button small quiet" @click=${() => this.#showRun(run)}>Show all</button></li>`;
  }

  #shown({ message, continued, key }: Extract<Row, { kind: 'message' }>) {
    const { state, you } = this;
    const staff = isStaff(you);
    return {
      message,
      continued,
      you: you?.id,
      forYou: this.#isForYou(message),
      syntax: this.#syntax(message),
      quoted: message.reply_to === undefined ? null : (this.#bySeq.get(message.reply_to) ?? null),
      question: state.questions.find(({ message: { seq } }) => seq === key)?.state ?? null,
      pinned: state.pinned?.seq === key,
      to: this.#audience(message),
      files: this.files,
      confirming: this.#confirming === key,
      active: this.#active === key,
      found: this.#found === key,
      mayReply: this.writable && !message.held && (staff || (you?.role === 'participant' && state.settings.messages !== 'off')),
      mayApprove: staff && this.writable,
      on: this.#handlers,
    };
  }

  #newer(): TemplateResult | typeof nothing {
    const held = this.#pausedAt !== null;
    if (this.#unread === 0 && !held) return nothing;
    const count = this.#unread > 999 ? '999+' : String(this.#unread);
    const text = held ? `Paused${this.#unread > 0 ? ` · ${count} new` : ''} · Resume` : `${count} new`;
    return html`<button class="button small primary newer" @click=${this.#toNewest}>${held ? icons.play : icons.down} ${text}</button>`;
  }

  readonly #handlers: Handlers = {
    act: (what, message) => this.#act(what, message),
    menu: (message, button) => this.#openMenu(message, button),
    confirm: (message, yes) => this.#confirmed(message, yes),
    jump: (seq) => this.jumpTo(seq),
  };

  /** Who can read a private message, in words. */
  #audience({ to, author }: Message): string {
    if (to === undefined) return '';
    if (to === 'staff') return 'To the teaching team only';
    if (to === this.you?.id) return 'To you only';
    return `To ${this.#people.get(to) ?? (author.id === this.you?.id ? 'one person' : 'somebody')} only`;
  }

  #syntax({ mentions, author }: Message): Syntax {
    const { links, link_hosts } = this.state.settings;
    const people = (mentions ?? []).flatMap((id) => (this.#people.has(id) ? [{ id, name: this.#people.get(id) as string }] : []));
    // What holds for participants does not bind who made it so.
    return { links: isStaff(author) ? 'on' : links, hosts: link_hosts, people };
  }

  #isForYou({ mentions, reply_to, to }: Message): boolean {
    const id = this.you?.id;
    if (id === undefined) return false;
    return to === id || mentions?.includes(id) === true || (reply_to !== undefined && this.#bySeq.get(reply_to)?.author.id === id);
  }

  #mustShow(message: Message): boolean {
    const own = message.author.id === this.you?.id;
    return this.#everything || own || isStaff(message.author) || message.question === true || message.announcement === true || message.to !== undefined || message.held !== undefined || this.#isForYou(message);
  }

  // --- rows

  #meet(): void {
    this.#bySeq = new Map(this.messages.map((message) => [message.seq, message]));
    for (const { author, anonymous } of this.messages) if (!anonymous) this.#people.set(author.id, author.name);
    this.#thinning.forget(this.messages[0]?.seq ?? 0);
  }

  #lay(): void {
    const before = this.#rows;
    this.#place = this.#stuck ? [] : this.#seenRows();
    this.#rows = rowsOf(this.#unpaused(), this.waiting, this.mode === 'live' ? this.#thinning : null);
    this.#index = new Map(this.#rows.map(({ key }, index) => [key, index]));
    if (this.#active !== null && !this.#index.has(this.#active)) this.#active = neighbour(before, this.#active, this.#index);
    if (this.#focused !== null && !this.#index.has(this.#focused)) this.#toFocus ??= neighbour(before, this.#focused, this.#index);
  }

  /** While paused nothing new is shown; what is deleted goes. */
  #unpaused(): readonly Message[] {
    const last = this.#pausedAt;
    return last === null ? this.messages : this.messages.filter(({ seq }) => seq <= last);
  }

  #turn(): void {
    [this.#stuck, this.#pausedAt, this.#lastSeen, this.#active, this.#confirming] = [true, null, null, null, null];
    [this.#announcer, this.#said] = [new Announcer(), ''];
  }

  #count(): void {
    const last = this.#unpaused().at(-1) ?? null;
    if (this.#following) [this.#lastSeen, this.#unread] = [last, 0];
    else this.#unread = this.#lastSeen ? unread(this.messages, this.#lastSeen, this.you?.id, (seq) => this.mode === 'live' && this.#thinning.hides(seq)) : 0;
  }

  #showRun(run: Run): void {
    this.#thinning.show(run);
    this.#stuck = false;
    this.#toFocus = run.first;
    this.rowsVersion += 1;
  }

  // --- the window

  #options(): VirtualizerOptions<HTMLElement, HTMLElement> {
    return {
      count: this.#rows.length,
      getScrollElement: () => this.#scroller,
      estimateSize: this.#estimate,
      getItemKey: this.#keyAt,
      rangeExtractor: this.#range,
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      onChange: this.#moved,
      overscan: OVERSCAN,
      paddingStart: this.earlier && this.mode === 'live' ? 48 : 8,
      paddingEnd: 12,
      anchorTo: 'end',
      followOnAppend: this.#following,
      // Who is held near the end is not at the end: rows that grow there do not move them.
      scrollEndThreshold: this.#following ? BOTTOM_PX : -1,
    };
  }

  readonly #estimate = (index: number): number => estimate(this.#rows[index]);
  readonly #keyAt = (index: number): Key => this.#rows[index]?.key ?? index;
  readonly #moved = (): void => this.requestUpdate();

  /** What is near the eye, and the row that has the focus: it must not go from under it. */
  readonly #range = ({ startIndex, endIndex, overscan, count }: Range): number[] => {
    const [from, to] = [Math.max(0, startIndex - overscan), Math.min(count - 1, endIndex + overscan)];
    const indices = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const active = this.#active === null ? undefined : this.#index.get(this.#active);
    if (active === undefined || (active >= from && active <= to)) return indices;
    return active < from ? [active, ...indices] : [...indices, active];
  };

  get #scroller(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>('.scroller');
  }

  #elements(): HTMLElement[] {
    return [...this.renderRoot.querySelectorAll<HTMLElement>('li[data-index]')];
  }

  #elementOf(key: Key): HTMLElement | null {
    const index = this.#index.get(key);
    return index === undefined ? null : this.renderRoot.querySelector(`li[data-index="${index}"]`);
  }

  // --- following the end, keeping the place

  get #following(): boolean {
    return this.#stuck && this.#pausedAt === null && this.#hovered === undefined && this.#focused === null && this.#menu === null;
  }

  #keepAtEnd(): void {
    if (this.#following && !this.#virtualizer.isAtEnd(1)) this.#virtualizer.scrollToEnd();
  }

  /** The rows on the screen, as they stand now. */
  #seenRows(): { key: Key; top: number }[] {
    const top = this.#virtualizer.scrollOffset ?? 0;
    const size = this.#scroller?.clientHeight ?? 0;
    return this.#virtualizer
      .getVirtualItems()
      .filter(({ start, end }) => end > top && start < top + size)
      .map(({ key, start }) => ({ key: key as Key, top: start - top }));
  }

  /** The window keeps its first row in its place; where that one went, the next that stayed. */
  #keepPlace(): void {
    const [first] = this.#place;
    const stayed = this.#place.find(({ key }) => this.#index.has(key));
    this.#place = [];
    if (!first || !stayed || first === stayed || this.#following) return;
    const start = this.#virtualizer.measurementsCache[this.#index.get(stayed.key) ?? 0]?.start;
    if (start !== undefined) this.#virtualizer.scrollToOffset(Math.max(0, start - stayed.top));
  }

  readonly #gesture = (): void => {
    this.#gestureAt = performance.now();
  };

  #scrolled(event: Event): void {
    const scroller = event.currentTarget as HTMLElement;
    const upwards = scroller.scrollTop < this.#scrollTop;
    this.#scrollTop = scroller.scrollTop;
    const was = this.#stuck;
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < BOTTOM_PX) this.#stuck = true;
    // Only somebody who scrolls up wants to stay there; a longer list or a smaller box is no wish.
    else if (upwards && performance.now() - this.#gestureAt < GESTURE_MS) this.#stuck = false;
    if (was !== this.#stuck || this.#unread > 0) this.requestUpdate();
  }

  /** Who reads further up is given more. */
  #wantEarlier(): void {
    const first = this.messages[0]?.seq;
    if (this.#stuck || !this.earlier || first === undefined || this.#asked === first || this.#scrollTop > TOP_PX) return;
    this.#showEarlier();
  }

  readonly #showEarlier = (): void => {
    this.#asked = this.messages[0]?.seq ?? null;
    this.#stuck = false;
    this.dispatchEvent(new Event('earlier'));
  };

  readonly #hover = ({ pointerType }: PointerEvent): void => {
    if (pointerType !== 'mouse') return;
    clearTimeout(this.#hovered);
    this.#hovered = setTimeout(this.#unhover, HOVER_MS);
  };

  readonly #unhover = (): void => {
    clearTimeout(this.#hovered);
    this.#hovered = undefined;
    this.requestUpdate();
  };

  readonly #pause = (): void => {
    if (this.#pausedAt !== null) {
      this.#toNewest();
      return;
    }
    this.#pausedAt = this.messages.at(-1)?.seq ?? 0;
    this.#lastSeen = this.messages.at(-1) ?? null;
    this.rowsVersion += 1;
  };

  readonly #toNewest = (): void => {
    // The button goes, and with it the focus.
    if (this.renderRoot instanceof ShadowRoot && this.renderRoot.activeElement?.classList.contains('newer')) this.focus();
    this.toEnd();
  };

  // --- keys and focus

  /** One Tab stop for the whole list: its messages are reached with the arrow keys. */
  #key(event: KeyboardEvent): void {
    this.#gesture();
    const key = (event.target as Element).closest<HTMLElement>('li[data-index]');
    const at = key ? Number(key.dataset.index) : null;
    if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey) || (event.key === 'Enter' && event.target === key)) {
      this.#keyMenu(event, at);
      return;
    }
    if (event.key === 'Escape' && at !== null) {
      this.focus();
      return;
    }
    const to = this.#step(event.key, at);
    if (to === null) return;
    event.preventDefault();
    this.#goTo(this.#keyAt(to), 'auto');
  }

  /** Where a key leads from a row (null: from the list itself); null where it leads nowhere. */
  #step(key: string, at: number | null): number | null {
    const last = this.#rows.length - 1;
    if (last < 0) return null;
    const bound = (index: number) => Math.max(0, Math.min(last, index));
    const page = Math.max(1, this.#seenRows().length - 1);
    switch (key) {
      case 'ArrowUp':
        return at === null ? (this.#lastOnScreen() ?? last) : bound(at - 1);
      case 'ArrowDown':
        return at === null ? (this.#lastOnScreen() ?? last) : bound(at + 1);
      case 'Home':
        return 0;
      case 'End':
        return last;
      case 'PageUp':
        return bound((at ?? last) - page);
      case 'PageDown':
        return bound((at ?? last) + page);
      default:
        return null;
    }
  }

  #lastOnScreen(): number | null {
    const key = this.#seenRows().at(-1)?.key;
    return key === undefined ? null : (this.#index.get(key) ?? null);
  }

  #goTo(key: Key, align: 'auto' | 'center'): void {
    [this.#active, this.#toFocus] = [key, key];
    this.requestUpdate();
    void this.updateComplete.then(() => {
      const index = this.#index.get(key);
      if (index !== undefined) this.#virtualizer.scrollToIndex(index, { align });
    });
  }

  readonly #focusedIn = (event: FocusEvent): void => {
    const element = (event.target as Element).closest<HTMLElement>('li[data-index]');
    const key = element ? this.#keyAt(Number(element.dataset.index)) : null;
    this.#focused = key;
    if (key === null || key === this.#active) return;
    this.#active = key;
    this.requestUpdate();
  };

  /** Who leaves wants the end again; a row that our own rendering takes away from under the focus is no leaving. */
  readonly #focusedOut = ({ relatedTarget }: FocusEvent): void => {
    if (this.#rendering || (relatedTarget instanceof Node && this.#scroller?.contains(relatedTarget))) return;
    this.#focused = null;
    this.requestUpdate();
  };

  #keepFocus(): void {
    const root = this.renderRoot as ShadowRoot;
    const lost = this.#focused !== null && root.activeElement === null && document.activeElement === document.body;
    const key = this.#toFocus ?? (lost ? this.#focused : null);
    if (key === null) return;
    const element = this.#elementOf(key);
    if (element) element.focus({ preventScroll: true });
    else if (lost && !this.#index.has(key)) this.focus();
    if (element || !this.#index.has(key)) this.#toFocus = null;
    // Not in the page yet: with the next update it is.
    else this.#active = key;
  }

  // --- what one does with a message

  #keyMenu(event: KeyboardEvent, at: number | null): void {
    const row = at === null ? undefined : this.#rows[at];
    if (row?.kind !== 'message' || row.message.body === null) return;
    event.preventDefault();
    const button = this.#elementOf(row.key)?.querySelector<HTMLElement>('.more');
    if (button) this.#openMenu(row.message, button);
  }

  #openMenu(message: Message, button: HTMLElement): void {
    const { you, state, writable, ended } = this;
    const actions = actionsOn(message, { you, state, writable, ended, now: Date.now() + this.offsetMs });
    this.#menu = { message, actions, from: message.seq };
    this.#active = message.seq;
    this.requestUpdate();
    void this.updateComplete.then(() => {
      const menu = this.renderRoot.querySelector<HTMLElement>('#menu');
      if (!menu) return;
      menu.showPopover();
      place(menu, button.getBoundingClientRect());
      menu.querySelector<HTMLElement>('[role=menuitem]')?.focus();
    });
  }

  #menuPopover(): TemplateResult {
    return html`<div id="menu" class="popover" popover role="menu" aria-label="With this message" @keydown=${this.#menuKey} @toggle=${this.#menuToggled}>
      ${this.#menu?.actions.map((what) => html`<button role="menuitem" class=${HARSH.has(what) ? 'harsh' : ''} tabindex="-1" @click=${() => this.#choice(what)}>${WORDS[what]}</button>`)}
    </div>`;
  }

  readonly #menuKey = (event: KeyboardEvent): void => {
    const items = [...this.renderRoot.querySelectorAll<HTMLElement>('#menu [role=menuitem]')];
    const at = items.indexOf((this.renderRoot as ShadowRoot).activeElement as HTMLElement);
    const to = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === 'Tab') this.#closeMenu();
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    items[to]?.focus();
  };

  readonly #menuToggled = (event: Event): void => {
    if ((event as ToggleEvent).newState !== 'closed' || !this.#menu) return;
    const { from } = this.#menu;
    const inside = (this.renderRoot as ShadowRoot).activeElement?.closest('#menu') || document.activeElement === document.body;
    this.#menu = null;
    if (inside) this.#toFocus = from;
    this.requestUpdate();
  };

  #closeMenu(): void {
    this.renderRoot.querySelector<HTMLElement>('#menu')?.hidePopover();
  }

  #choice(what: What): void {
    const message = this.#menu?.message;
    if (message) this.#toFocus = message.seq;
    this.#closeMenu();
    if (message) this.#act(what, message);
  }

  #act(what: What, message: Message): void {
    if (what === 'copy') {
      void navigator.clipboard.writeText(message.body ?? '');
      return;
    }
    if (what !== 'delete') {
      if (what === 'reply' || what === 'edit' || what === 'private') this.#toFocus = null;
      this.dispatchEvent(new CustomEvent<Act>('act', { detail: { what, message } }));
      return;
    }
    [this.#confirming, this.#toFocus] = [message.seq, null];
    this.requestUpdate();
    void this.updateComplete.then(() => this.#elementOf(message.seq)?.querySelector<HTMLElement>('.confirm button')?.focus({ preventScroll: true }));
  }

  #confirmed(message: Message, yes: boolean): void {
    [this.#confirming, this.#toFocus] = [null, message.seq];
    if (yes) this.dispatchEvent(new CustomEvent<Act>('act', { detail: { what: 'delete', message } }));
    this.requestUpdate();
  }

  // --- what is said

  #announce(): void {
    const said = this.#announcer.due(Date.now()) ?? '';
    // Emptied on the next turn: it was said, and must not be found by who reads the page.
    if (said === this.#said) return;
    this.#said = said;
    this.requestUpdate();
  }

  #choose(loudness: Loudness): void {
    this.#loudness = loudness;
    [this.#announcer, this.#said] = [new Announcer(), ''];
    remember({ loudness });
    this.requestUpdate();
  }

  readonly #optionsToggled = (event: Event): void => {
    const options = event.currentTarget as HTMLElement;
    const button = options.previousElementSibling;
    if ((event as ToggleEvent).newState === 'open' && button) place(options, button.getBoundingClientRect());
  };

  readonly #toggleEverything = (): void => {
    this.#everything = !this.#everything;
    if (this.#everything) for (const run of this.#thinning.runs) this.#thinning.show(run);
    remember({ everything: this.#everything });
    this.rowsVersion += 1;
  };
}

/** Live, where the list is in that order. */
function bySeq(messages: readonly Message[], seq: number): Message | undefined {
  const found = messages[lowerBound(messages, (message) => message.seq < seq)];
  return found?.seq === seq ? found : undefined;
}

/** The rows may be others. */
const isNews = (changed: PropertyValues): boolean => ['messages', 'waiting', 'rowsVersion', 'mode'].some((name) => changed.has(name));

const LOUDNESS: [Loudness, string][] = [
  ['all', 'All messages, summed up'],
  ['mentions', 'Mentions, answers and staff'],
  ['off', 'Nothing'],
];

const WORDS: Record<What, string> = {
  reply: 'Reply',
  private: 'Write to this person only',
  copy: 'Copy text',
  edit: 'Edit',
  report: 'Report to the staff',
  pin: 'Pin',
  unpin: 'Unpin',
  answered: 'Mark as answered',
  dismissed: 'Dismiss question',
  open: 'Reopen question',
  approve: 'Approve',
  discard: 'Discard',
  delete: 'Delete',
  mute: 'Mute this person',
  timeout: 'Time out this person',
  ban: 'Ban this person',
};

const HARSH = new Set<What>(['delete', 'discard', 'mute', 'timeout', 'ban']);

/** Below the button where there is room, above it else; within the page. */
function place(menu: HTMLElement, button: DOMRect): void {
  const { width, height } = menu.getBoundingClientRect();
  const below = button.bottom + 4;
  const top = below + height <= innerHeight ? below : Math.max(8, button.top - height - 4);
  const left = Math.max(8, Math.min(button.right - width, innerWidth - width - 8));
  Object.assign(menu.style, { top: `${top}px`, left: `${left}px` });
}

customElements.define('lectern-messages', LecternMessages);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-messages': LecternMessages;
  }
}
