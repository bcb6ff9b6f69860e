/**
 * `<lectern-room>`: the room beside the picture.
 *
 * At the live edge messages show on arrival, in the order of the room. Rewound, and in the replay, the room shows
 * what stood there then, by the position of its `playhead`: its words, its questions, its polls with the votes so far.
 */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { exportRoom, erasePerson, uploadFile, type Broadcast } from '../api';
import { isRewound } from '../core/edge';
import { positionTime } from '../core/format';
import { parse, textOf } from '../core/markup';
import { lowerBound, type Message } from '../core/message';
import { kindsOf, rulesOf, span } from '../core/mode';
import { shownUpTo, type View } from '../core/replay';
import { TICKS_PER_MS, type Ticks, type WallMs } from '../core/time';
import { EMPTY, isStaff, type Action, type Attached, type Person, type Poll, type RoomEvent, type Say, type State } from '../core/wire';
import { guestToken, rememberGuest } from '../identity';
import { MOVED, SHOWN, type Playhead } from '../playhead';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import type { Asked } from './asking';
import { bodyOf } from './body';
import './composer';
import type { Draft, Editing, Reply } from './composer';
import { Connection, type Published, type Refused, type Returned } from './connection';
import type { Dialog } from './dialogs';
import './guest-form';
import { KeepFocus } from './keep-focus';
import type { Act, LecternMessages, Mode } from './lectern-messages';
import './lectern-messages';
import css from './lectern-room.css?inline';
import './people';
import './person-dialog';
import './poll-dialog';
import './polls';
import './questions';
import './reactions';
import { ReplaySource } from './replay-source';
import './report-dialog';
import { LecternReview } from './review';
import './settings-dialog';
import type { Desk } from './settings-dialog';

/** The position is looked at at least this often while it plays. */
const LOOK_MS = 1_000;
/** Long enough to read a sentence. */
const NOTICE_MS = 8_000;
/** A longer step of the playhead is a jump: what lies between did not happen before one's eyes. */
const STEP: Ticks = 3 * 90_000;
/** Files of messages on their way, kept in case these come back. */
const KEPT_FILES = 50;

/** More characters than two lines hold. */
const LONG_PIN = 80;

type Tab = 'chat' | 'questions' | 'polls' | 'people' | 'review';

interface TabShown {
  tab: Tab;
  words: string;
  icon: TemplateResult;
  count: number;
  /** What the count counts. */
  of: string;
}

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
  #tab: Tab = 'chat';
  /** Once there is somewhere to write, it gets the focus. */
  #toCompose = false;
  #view: View | null = null;
  /** The last state that was known where we are. */
  #stateThen: State = EMPTY;
  /** Up to where reactions have floated by. */
  #floatedTo: Ticks = 0;
  #newAtEdge = 0;
  /** Messages that came while another tab was open. */
  #missed = 0;
  #reply: Reply | null = null;
  #editing: Editing | null = null;
  #files = new Map<string, Attached>();
  #complaint = '';
  #notice = '';
  /** For screen readers alone: others see it. */
  #whispered = '';
  #noticeEnds: ReturnType<typeof setTimeout> | undefined;
  #whole = false;
  /** The composer was there. */
  #wrote = false;
  #handUp = false;
  #sanctioned: string | null = null;
  #lost = false;
  #people: { of: readonly Message[]; list: Person[] } = { of: [], list: [] };
  #look: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    this.broadcast = null;
    this.playhead = null;
    new KeepFocus(this, () => this.#placeToBe());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.addEventListener('ask', this.#asked);
    this.addEventListener('person', this.#personWanted);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearTimeout(this.#look);
    clearTimeout(this.#noticeEnds);
    this.connection?.close();
    this.connection = null;
    this.#leave(this.playhead);
  }

  /** What is in the list now, oldest first. */
  get messages(): readonly Message[] {
    return this.#mode === 'live' ? (this.connection?.room.log.messages ?? NONE) : (this.#view?.messages ?? NONE);
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** How the room stands where one is. */
  get state(): State {
    return this.#mode === 'live' ? this.#stateNow : this.#stateThen;
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('playhead')) {
      this.#leave(changed.get('playhead') as Playhead | null | undefined);
      this.playhead?.addEventListener(MOVED, this.#follow);
      this.playhead?.addEventListener(SHOWN, this.#glance);
    }
    if (changed.has('broadcast') && this.broadcast) this.#open(this.broadcast);
    if (!this.#tabs.some(({ tab }) => tab === this.#tab)) this.#tab = 'chat';
  }

  override render() {
    return html`
      ${this.#header()}
      ${this.#banner()}
      ${this.#strips()}
      ${this.#panels()}
      <footer>${this.#footer()}</footer>
      <lectern-settings .settings=${this.#stateNow.settings} .desk=${this.#desk} .name=${this.broadcast?.id ?? 'room'} @orphaned=${this.#refocus}></lectern-settings>
      <lectern-poll-dialog @orphaned=${this.#refocus}></lectern-poll-dialog>
      <lectern-person-dialog .state=${this.#stateNow} .erase=${this.#you?.role === 'host' ? this.#erase : null} @orphaned=${this.#refocus}></lectern-person-dialog>
      <lectern-report-dialog @orphaned=${this.#refocus}></lectern-report-dialog>
    `;
  }

  protected override updated(): void {
    this.#compose();
  }

  // --- what is known

  get #list(): LecternMessages | null {
    return this.renderRoot.querySelector('lectern-messages');
  }

  get #you(): Person | null {
    return this.connection?.room.you ?? null;
  }

  get #stateNow(): State {
    return this.connection?.room.state ?? EMPTY;
  }

  get #ended(): boolean {
    return this.broadcast?.state === 'ended' || this.connection?.room.line?.state === 'ended';
  }

  /** It is now, and one is in the room. */
  get #live(): boolean {
    return this.#mode === 'live' && !this.#ended && this.connection?.room.status === 'joined';
  }

  /** Somebody of the teaching team, in a room that goes on. */
  get #leads(): boolean {
    return isStaff(this.#you) && !this.#ended;
  }

  readonly #now = (): WallMs => this.connection?.room.clock.at(Date.now()) ?? Date.now();

  readonly #messageOf = (seq: number): Message | null => {
    const messages = this.connection?.room.log.messages ?? NONE;
    const found = messages[lowerBound(messages, (message) => message.seq < seq)];
    return found?.seq === seq ? found : null;
  };

  readonly #nameOf = (id: string): string => this.#known.find((person) => person.id === id)?.name ?? this.connection?.room.roster?.people.find(({ person }) => person.id === id)?.person.name ?? '';

  get #tabs(): TabShown[] {
    const { questions, polls, settings } = this.state;
    const open = questions.filter(({ state }) => state === 'open').length;
    const tabs: (TabShown & { there: boolean })[] = [
      { tab: 'chat', words: 'Chat', icon: icons.chat, count: this.#missed, of: 'new messages', there: true },
      { tab: 'questions', words: 'Questions', icon: icons.question, count: open, of: 'open', there: settings.questions || questions.length > 0 },
      { tab: 'polls', words: 'Polls', icon: icons.poll, count: polls.filter(({ closed }) => !closed).length, of: 'open', there: (this.#leads && this.#mode === 'live') || polls.length > 0 },
      { tab: 'people', words: 'People', icon: icons.people, count: this.#stateNow.hands.count, of: 'raised hands', there: this.#leads },
      { tab: 'review', words: 'Review', icon: icons.shield, count: LecternReview.count(this.#stateNow), of: 'waiting', there: this.#leads },
    ];
    return tabs.filter(({ there }) => there);
  }

  // --- what is shown

  #header(): TemplateResult {
    const tabs = this.#tabs;
    return html`<header>
      <h2 class=${tabs.length > 1 ? 'unseen' : ''}>${this.#mode === 'live' ? 'Room' : 'Room, as it was'}</h2>
      ${tabs.length > 1 ? html`<div class="tabs" role="tablist" aria-label="Room" @keydown=${this.#walkTabs}>${tabs.map((one) => this.#tabButton(one))}</div>` : nothing}
      <div class="corner">
        ${this.#presence()}
        ${this.#leads ? html`<button class="round" aria-label="Room settings" title="Room settings" aria-haspopup="dialog" @click=${() => this.renderRoot.querySelector('lectern-settings')?.open()}>${icons.gear}</button>` : nothing}
      </div>
    </header>`;
  }

  #tabButton({ tab, words, icon, count, of }: TabShown): TemplateResult {
    const selected = tab === this.#tab;
    return html`<button id="tab-${tab}" class="tab" role="tab" aria-selected=${String(selected)} aria-controls="panel-${tab}" tabindex=${selected ? 0 : -1} @click=${() => this.#show(tab)}>
      <span class="pictured">${icon}${count > 0 ? html`<span class="count" aria-hidden="true">${count > 99 ? '99+' : count}</span>` : nothing}</span>
      <span class="words">${words}</span>${count > 0 ? html`<span class="unseen">, ${count} ${of}</span>` : nothing}
    </button>`;
  }

  #presence() {
    const room = this.connection?.room;
    if (room?.status === 'reconnecting') return html`<span class="badge" role="status">Reconnecting…</span>`;
    if (this.#mode === 'replay') return this.#tabs.length > 1 ? html`<span class="badge">As it was</span>` : nothing;
    if (room?.present == null) return nothing;
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

  /** What everybody should see, whatever they look at. */
  #strips() {
    const { pinned, polls } = this.state;
    const poll = this.#live && this.#tab !== 'polls' ? polls.findLast(({ closed }) => !closed) : undefined;
    return html`${pinned ? this.#pinned(pinned) : nothing}${poll ? this.#pollStrip(poll) : nothing}`;
  }

  #pinned(pinned: NonNullable<State['pinned']>): TemplateResult {
    const { seq, author, body, question } = pinned;
    const long = (body ?? '').length > LONG_PIN || (body ?? '').includes('\n');
    return html`<section class="strip pinned ${this.#whole ? 'whole' : ''}" aria-label="Pinned ${question ? 'question' : 'message'}">
      ${icons.pin}
      <p class="pin" dir="auto"><b>${author.name}</b> ${long && !this.#whole ? textOf(parse(body ?? '')) : bodyOf(pinned, this.state.settings)}</p>
      ${long ? html`<button class="button small quiet" aria-expanded=${String(this.#whole)} @click=${this.#unfold}>${this.#whole ? 'Less' : 'More'}</button>` : nothing}
      ${this.#leads && this.#mode === 'live' ? html`<button class="round" aria-label="Unpin" title="Unpin" @click=${() => this.connection?.ask({ type: 'unpin', target: seq })}>${icons.close}</button>` : nothing}
    </section>`;
  }

  #unfold(): void {
    this.#whole = !this.#whole;
    this.requestUpdate();
  }

  #pollStrip({ question, quiz, voted, voters }: Poll): TemplateResult | typeof nothing {
    const votes = this.#you?.role === 'participant' && voted === undefined;
    if (!votes && !this.#leads) return nothing;
    return html`<section class="strip" aria-label=${quiz ? 'Quiz' : 'Poll'}>
      ${icons.poll}
      <p class="pin" dir="auto"><b>${quiz ? 'Quiz' : 'Poll'}</b> ${question}</p>
      <button class="button small ${votes ? 'primary' : ''}" @click=${() => this.#show('polls', true)}>${votes ? 'Vote' : `${voters} voted`}</button>
    </section>`;
  }

  #panels(): TemplateResult {
    const { state } = this;
    const live = this.#live;
    const you = this.#you;
    const panel = (tab: Tab, content: () => TemplateResult) =>
      this.#tabs.some((one) => one.tab === tab)
        ? html`<div id="panel-${tab}" class="panel" role=${this.#tabs.length > 1 ? 'tabpanel' : nothing} aria-labelledby=${this.#tabs.length > 1 ? `tab-${tab}` : nothing} ?hidden=${this.#tab !== tab}>${content()}</div>`
        : nothing;
    return html`
      ${panel('chat', () => this.#messageList())}
      ${panel('questions', () => html`<lectern-questions .state=${state} .you=${you} .live=${live}></lectern-questions>`)}
      ${panel('polls', () => html`<lectern-polls .state=${state} .you=${you} .live=${live} .now=${this.#now} @newpoll=${() => this.renderRoot.querySelector('lectern-poll-dialog')?.open()}></lectern-polls>`)}
      ${panel('people', () => html`<lectern-people .state=${this.#stateNow} .roster=${this.connection?.room.roster ?? null} .active=${this.#tab === 'people'} .live=${true} .now=${this.#now}></lectern-people>`)}
      ${panel('review', () => html`<lectern-review .state=${this.#stateNow} .messageOf=${this.#messageOf} .nameOf=${this.#nameOf} .now=${this.#now}></lectern-review>`)}
    `;
  }

  #messageList(): TemplateResult {
    const room = this.connection?.room;
    const joined = room?.status === 'joined';
    return html`<lectern-messages .messages=${this.messages} .waiting=${this.#waiting()} .why=${joined ? 'Sending…' : 'Will be sent when the connection is back'}
      .you=${this.#you} .state=${this.state} .mode=${this.#mode} .writable=${!this.#ended && joined} .ended=${this.#ended}
      .earlier=${this.#mode === 'live' ? room?.earlier() != null : (this.#view?.earlier ?? false)} .empty=${this.#emptiness()}
      .files=${this.broadcast ? `/broadcasts/${this.broadcast.id}/files` : ''} .offsetMs=${room?.clock.offsetMs ?? 0}
      @act=${this.#act} @earlier=${this.#showEarlier}></lectern-messages>`;
  }

  /** One's own that the room has not taken yet; and what this node of the server took, but not yet all of it. */
  #waiting() {
    const room = this.connection?.room;
    if (!room) return [];
    const provisional = this.#mode === 'live' ? room.provisional.filter(({ event }) => event.author.id !== room.you?.id).map(({ id, event }) => ({ ref: id, body: `${event.author.name}: ${event.body ?? ''}` })) : [];
    return [...provisional, ...room.unsent];
  }

  #emptiness(): string {
    if (this.#mode === 'replay') return 'Messages appear as the lecture plays.';
    if (this.#mode === 'rewound') return 'Nothing was written up to here.';
    return this.connection?.room.status === 'joined' ? 'Nobody has written yet. Questions are welcome.' : 'Entering the room…';
  }

  // --- where one writes

  #footer() {
    const closed = this.#closed;
    this.#wrote ||= closed === null;
    return html`
      ${this.#complaint ? html`<div class="notice bad complaint" role="alert"><span>${this.#complaint}</span><button class="round" aria-label="Dismiss" @click=${() => this.#complain('')}>${icons.close}</button></div>` : nothing}
      <div class="told" role="status">${this.#notice ? html`<p class="notice">${this.#notice}</p>` : nothing}</div>
      <div class="unseen" role="status">${this.#whispered}</div>
      ${closed ?? nothing}
      ${this.#reactionsRow()}
      ${this.#wrote ? this.#composer(closed !== null) : nothing}
    `;
  }

  /** Why one cannot write now; null where one can. */
  get #closed(): TemplateResult | typeof nothing | null {
    const room = this.connection?.room;
    if (this.#ended) return html`<p class="notice">The lecture is over. The room follows the replay and can be read, not written.</p>`;
    if (room?.status === 'refused') return html`<p class="notice bad" role="alert">${room.refusal}</p>`;
    if (!room?.you) return nothing;
    if (room.you.role === 'viewer') {
      if (!this.broadcast?.guests) return html`<p class="notice">Only invited participants can write here.</p>`;
      return html`<lectern-guest-form .broadcast=${this.broadcast.id} @admitted=${this.#admitted}></lectern-guest-form>`;
    }
    if (room.sanction) return html`<p class="notice warn">${sentence(room.sanction, this.#now())}</p>`;
    if (kindsOf(room.state.settings, isStaff(room.you)).length > 0) return null;
    return html`<p class="notice">${rulesOf(room.state.settings, null).join(' ')}</p>`;
  }

  #reactionsRow() {
    const { settings, hands } = this.#stateNow;
    const you = this.#you;
    const takesPart = !this.#ended && this.connection?.room.status === 'joined' && you !== null && you.role !== 'viewer' && this.connection.room.sanction === null;
    const raises = takesPart && this.#mode === 'live' && settings.hands && you.role === 'participant';
    const place = hands.people.findIndex(({ person }) => person.id === you?.id);
    return html`<div class="feel">
      <lectern-reactions .open=${takesPart && settings.reactions} @react=${this.#react}></lectern-reactions>
      ${raises
        ? html`<button class="button small hand" aria-pressed=${String(place >= 0)} @click=${() => this.connection?.ask({ type: 'hand', raised: place < 0 })}>
            ${icons.hand} ${place >= 0 ? html`Hand up <span class="turn">${place === 0 ? 'you are next' : `number ${place + 1}`}</span>` : 'Raise hand'}</button>`
        : nothing}
    </div>`;
  }

  #composer(closed: boolean): TemplateResult {
    const room = this.connection?.room;
    const { settings } = this.#stateNow;
    const staff = isStaff(this.#you);
    const kinds = kindsOf(settings, staff);
    const position = this.playhead?.mediaTicks;
    const hint = !closed && this.#mode === 'rewound' && position != null ? `Will stand at ${positionTime(position)}, where you are watching` : '';
    const here = this.#tab === 'chat' || (this.#tab === 'questions' && !staff && kinds.includes('question'));
    return html`<lectern-composer ?hidden=${!here} .limit=${room?.limits.body ?? 1000} .kinds=${kinds} .fixed=${this.#tab === 'questions' ? 'question' : null} .hint=${hint}
      .rules=${closed || staff ? NO_RULES : rulesOf(settings, this.#tab === 'questions' ? 'question' : null)} .closed=${closed} .anonymity=${settings.anonymous} .announces=${staff}
      .upload=${staff || settings.uploads === 'participants' ? this.#upload : null} .people=${this.#known} .reply=${this.#reply} .editing=${this.#editing} .slowUntil=${room?.slowUntil ?? 0}
      @say=${this.#say} @correct=${this.#correct} @unrelate=${this.#unrelate} @orphaned=${this.#refocus}></lectern-composer>`;
  }

  /** Whom one can mention: those who have written under their name. */
  get #known(): Person[] {
    const messages = this.connection?.room.log.messages ?? NONE;
    if (this.#people.of === messages) return this.#people.list;
    const known = new Map<string, Person>();
    for (const { author, anonymous } of messages) if (!anonymous && author.name !== '' && author.id !== this.#you?.id) known.set(author.id, author);
    const list = [...known.values()].reverse();
    // The same people are the same list: nothing has to be laid out anew.
    const same = list.length === this.#people.list.length && list.every(({ id }, i) => id === this.#people.list[i]?.id);
    this.#people = { of: messages, list: same ? this.#people.list : list };
    return this.#people.list;
  }

  readonly #upload = (file: File, progress: (part: number) => void, signal: AbortSignal): Promise<Attached> =>
    this.broadcast ? uploadFile(this.broadcast.room, file, this.#identity, progress, signal) : Promise.reject(new Error('There is no room.'));

  // --- tabs

  #show(tab: Tab, focus = false): void {
    this.#tab = tab;
    if (tab === 'chat') this.#missed = 0;
    this.requestUpdate();
    if (focus) void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(`#tab-${tab}`)?.focus());
  }

  /** The arrows, Home and End go from tab to tab (ARIA Authoring Practices). */
  #walkTabs(event: KeyboardEvent): void {
    const tabs = this.#tabs.map(({ tab }) => tab);
    const at = tabs.indexOf(this.#tab);
    const aims: Partial<Record<string, number>> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
    const aim = aims[event.key];
    if (aim === undefined) return;
    event.preventDefault();
    const tab = tabs[(aim + tabs.length) % tabs.length];
    if (tab) this.#show(tab, true);
  }

  /** Where the focus goes when what had it is gone. */
  #placeToBe(): HTMLElement | null {
    const composer = this.renderRoot.querySelector('lectern-composer');
    return this.renderRoot.querySelector<HTMLElement>(`#tab-${this.#tab}`) ?? (composer?.closed === false ? composer : this.#list);
  }

  #refocus(): void {
    this.#placeToBe()?.focus();
  }

  // --- the connection

  get #identity(): string | undefined {
    return this.token ?? (this.broadcast ? guestToken(this.broadcast.id) : undefined);
  }

  #open(broadcast: Broadcast): void {
    this.#source ??= new ReplaySource(broadcast.chat, () => this.#showReplay());
    // What is over is read from the replay folder; only who may still delete needs the server.
    if (!this.connection && (broadcast.state !== 'ended' || this.token)) this.#connect(broadcast);
    this.#follow();
  }

  #connect(broadcast: Broadcast): void {
    const connection = new Connection(broadcast.room, this.#identity);
    this.connection = connection;
    const on = (type: string, then: (event: CustomEvent) => void) => connection.addEventListener(type, (event) => then(event as CustomEvent));
    on('change', () => this.#changed());
    on('publish', ({ detail }: CustomEvent<Published>) => this.#published(detail));
    on('return', ({ detail }: CustomEvent<Returned>) => this.#returned(detail));
    on('held', ({ detail }: CustomEvent<string>) => this.#tell(WAITS[detail] ?? 'Your message waits for approval.'));
    on('done', ({ detail }: CustomEvent<Action>) => this.#done(detail));
    on('refused', ({ detail }: CustomEvent<Refused>) => this.#refused(detail));
    on('complain', ({ detail }: CustomEvent<string>) => this.#complain(detail));
    on('unauthorized', () => this.#forgetGuest(broadcast));
  }

  #changed(): void {
    this.#noticeHand();
    this.#noticeSanction();
    this.#noticeConnection();
    this.requestUpdate();
    this.dispatchEvent(new Event('roomchange'));
  }

  #published({ events, fresh }: Published): void {
    this.#source?.replay.add(events);
    if (!fresh) this.#source?.expire();
    if (fresh) this.#tellNews(events);
    const texts = events.filter((event) => event.kind === 'text' && !event.deleted && event.author.id !== this.#you?.id).length;
    if (fresh && this.#tab !== 'chat' && this.#mode === 'live') this.#missed += texts;
    if (this.#mode !== 'live') {
      if (fresh) this.#newAtEdge += texts;
      this.#showReplay();
      return;
    }
    if (!fresh) return;
    this.#list?.arrived(events, this.messages);
    for (const event of events) if (event.kind === 'reactions') this.#float(event.counts);
  }

  /** What a screen reader should not have to look for. */
  #tellNews(events: readonly RoomEvent[]): void {
    if (this.#mode !== 'live') return;
    for (const event of events) {
      if (event.author?.id === this.#you?.id) continue;
      if (event.kind === 'poll' && this.#tab !== 'polls') this.#tell(`New ${event.quiz ? 'quiz' : 'poll'}: ${event.question}`);
      if (event.kind === 'pin') this.#whole = false;
    }
  }

  #noticeHand(): void {
    const up = this.#stateNow.hands.people.findIndex(({ person }) => person.id === this.#you?.id);
    const was = this.#handUp;
    this.#handUp = up >= 0;
    if (this.#handUp && !was) this.#tell(up === 0 ? 'Your hand is up. You are next.' : `Your hand is up. You are number ${up + 1}.`);
    if (!this.#handUp && was && this.#live) this.#tell('Your hand is down.');
  }

  #noticeSanction(): void {
    const sanction = this.connection?.room.sanction ?? null;
    const what = sanction === null ? null : sentence(sanction, this.#now());
    if (what !== null && this.#sanctioned === null) this.#list?.alert(what);
    if (what === null && this.#sanctioned !== null) this.#tell('You can write again.');
    this.#sanctioned = what;
  }

  #noticeConnection(): void {
    const status = this.connection?.room.status;
    if (status === 'reconnecting' && !this.#lost) this.#list?.alert('The connection to the room is lost. It is being restored.');
    if (status === 'joined' && this.#lost) this.#tell('The connection to the room is back.');
    this.#lost = status === 'reconnecting' || (this.#lost && status !== 'joined');
  }

  #done(action: Action): void {
    const words = DONE[action.type];
    if (action.type === 'edit') this.#unrelate();
    const whispered = WHISPERED[action.type];
    if (whispered !== undefined) this.#whisper(whispered);
    if (words === undefined) return;
    this.#complaint = '';
    const dialog = this.#openDialog;
    if (dialog) dialog.tell(words, true);
    else this.#tell(words);
  }

  #refused({ action, message, retryAfterMs }: Refused): void {
    if (action.type === 'roster') return;
    const words = retryAfterMs > 0 ? `${message} (in ${span(retryAfterMs)})` : message;
    const dialog = this.#openDialog;
    if (dialog) dialog.tell(words, false);
    else this.#complain(words);
  }

  get #openDialog(): Dialog | undefined {
    const dialogs = this.renderRoot.querySelectorAll<Dialog & HTMLElement>('lectern-settings, lectern-poll-dialog, lectern-person-dialog, lectern-report-dialog');
    return [...dialogs].find((dialog) => dialog.isOpen);
  }

  #returned({ say, message, retryAfterMs }: Returned): void {
    const files = (say.files ?? []).flatMap((id) => this.#files.get(id) ?? []);
    this.renderRoot.querySelector('lectern-composer')?.giveBack(say, message, retryAfterMs, files);
  }

  #complain(message: string): void {
    this.#complaint = message;
    this.requestUpdate();
  }

  /** Seen and read out, and gone again: nothing to be done about it. */
  #tell(words: string): void {
    this.#notice = words;
    clearTimeout(this.#noticeEnds);
    this.#noticeEnds = setTimeout(() => this.#tell(''), words === '' ? 0 : NOTICE_MS);
    if (words === '') clearTimeout(this.#noticeEnds);
    this.requestUpdate();
  }

  /** Emptied before the next, so that the same words are said again. */
  #whisper(words: string): void {
    this.#whispered = '';
    this.requestUpdate();
    void this.updateComplete.then(() => {
      this.#whispered = words;
      this.requestUpdate();
    });
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
    if (!composer || composer.closed) return;
    this.#toCompose = false;
    void composer.updateComplete.then(() => composer.focus());
  }

  /** A guest's token ends with its time; the name is asked again. A link's token is not ours to forget. */
  #forgetGuest(broadcast: Broadcast): void {
    if (this.token || guestToken(broadcast.id) === undefined) return;
    rememberGuest(broadcast.id, undefined);
    this.connection?.identify(undefined);
  }

  // --- what one does

  #say(event: CustomEvent<Draft>): void {
    if (this.connection?.say(this.#sayOf(event.detail))) {
      this.#list?.toEnd();
      this.#reply = null;
      this.#tell('');
    } else {
      event.preventDefault();
      this.#complain('There are too many unsent messages. Wait until the connection is back.');
    }
    this.requestUpdate();
  }

  #sayOf({ body, kind, anonymous, announcement, files, mentions, replyTo }: Draft): Omit<Say, 'type'> {
    for (const file of files) this.#files.set(file.id, file);
    for (const id of [...this.#files.keys()].slice(0, -KEPT_FILES)) this.#files.delete(id);
    const to = replyTo?.to ?? (kind === 'staff' ? 'staff' : undefined);
    return {
      body,
      // The moment that this reader sees, not the moment at which the message arrives.
      playing: this.playhead?.playingDate?.getTime() ?? null,
      ...(replyTo && { reply_to: replyTo.seq }),
      ...(mentions.length > 0 && { mentions }),
      ...(kind === 'question' && { question: true }),
      ...(anonymous && { anonymous: true }),
      ...(announcement && to === undefined && { announcement: true }),
      ...(to !== undefined && { to }),
      ...(files.length > 0 && { files: files.map(({ id }) => id) }),
    };
  }

  #correct(event: CustomEvent<Editing>): void {
    this.#complaint = '';
    this.connection?.ask({ type: 'edit', ...event.detail });
  }

  #unrelate(): void {
    [this.#reply, this.#editing] = [null, null];
    this.requestUpdate();
  }

  #react(event: CustomEvent<string>): void {
    this.connection?.ask({ type: 'react', emoji: event.detail, playing: this.playhead?.playingDate?.getTime() ?? null });
  }

  readonly #asked = (event: Event): void => {
    this.#complaint = '';
    this.connection?.ask((event as CustomEvent<Asked>).detail);
  };

  readonly #personWanted = (event: Event): void => {
    void this.renderRoot.querySelector('lectern-person-dialog')?.openFor((event as CustomEvent<Person>).detail);
  };

  /** What somebody wants with a message. */
  #act(event: CustomEvent<Act>): void {
    const { what, message } = event.detail;
    const { seq, author, body } = message;
    this.#complaint = '';
    switch (what) {
      case 'reply':
      case 'private':
        [this.#reply, this.#editing] = [{ seq, name: author.name, body: body ?? '', ...(what === 'private' && { to: author.id }) }, null];
        this.#write();
        return;
      case 'edit':
        [this.#reply, this.#editing] = [null, { seq, body: body ?? '' }];
        this.#write();
        return;
      case 'report':
        void this.renderRoot.querySelector('lectern-report-dialog')?.openFor(message);
        return;
      case 'delete':
        this.connection?.ask({ type: 'delete', seq });
        return;
      case 'answered':
      case 'dismissed':
      case 'open':
        this.connection?.ask({ type: 'question', target: seq, state: what });
        return;
      case 'mute':
      case 'timeout':
      case 'ban':
        void this.renderRoot.querySelector('lectern-person-dialog')?.openFor(author);
        return;
      default:
        this.connection?.ask({ type: what, target: seq });
    }
  }

  #write(): void {
    this.#show('chat');
    void this.updateComplete.then(() => this.renderRoot.querySelector('lectern-composer')?.focus());
  }

  // --- what only the server's door knows

  get #desk(): Desk | null {
    const { broadcast } = this;
    if (!broadcast || !this.#leads) return null;
    return (this.#deskOf ??= {
      export: (format) => exportRoom(broadcast.id, format, this.#identity),
    });
  }

  #deskOf: Desk | null = null;

  readonly #erase = async (person: Person): Promise<void> => {
    if (this.broadcast) await erasePerson(this.broadcast.id, person.id, this.#identity);
  };

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
    [this.#newAtEdge, this.#missed, this.#view] = [0, 0, null];
    // Until it is known how the room stood, it is as it stands.
    this.#stateThen = this.#stateNow;
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
      if (this.#view && position < this.#view.from) this.#list?.toEnd();
      this.#view = view;
      this.#stateThen = view.state ?? this.#stateThen;
      this.requestUpdate();
    } else if (this.#mode === 'rewound') this.requestUpdate();
    this.#floatBy(position);
    this.#lookAgain(view.until - position);
  }

  /** Reactions of the stretch that was played since. */
  #floatBy(position: Ticks): void {
    const step = position - this.#floatedTo;
    if (step > 0 && step < STEP && (this.playhead?.rate ?? 0) > 0) {
      for (const event of this.#source?.replay.passed(this.#floatedTo, position) ?? []) if (event.kind === 'reactions') this.#float(event.counts);
    }
    this.#floatedTo = position;
  }

  #float(counts: Readonly<Record<string, number>>): void {
    this.renderRoot.querySelector('lectern-reactions')?.float(counts);
  }

  /** When the next message's turn comes; the playhead tells of everything else. */
  #lookAgain(ticks: number): void {
    const rate = this.playhead?.rate ?? 0;
    if (rate <= 0) return;
    this.#look = setTimeout(() => this.#showReplay(), Math.max(1, Math.min(LOOK_MS, ticks / TICKS_PER_MS / rate)));
  }

  #showEarlier(): void {
    if (this.#mode === 'live') void this.connection?.loadEarlier();
    else {
      this.#source?.replay.showMore();
      this.#showReplay();
    }
  }
}

const NONE: readonly Message[] = [];
const NO_RULES: readonly string[] = [];

/** What is said when it was done; nothing where one sees it. */
const DONE: Partial<Record<Action['type'], string>> = {
  edit: 'Your message is changed.',
  report: 'The teaching team has your report.',
  poll: 'The poll is open.',
  settings: 'Saved.',
  sanction: 'Done.',
  note: 'Noted.',
  pin: 'Pinned for everybody.',
  discard: 'Discarded. Only its writer is told.',
};

/** What one sees at once, and does not hear. */
const WHISPERED: Partial<Record<Action['type'], string>> = { say: 'Sent.', vote: 'Your vote is counted.' };

/** Why what one wrote is not there yet. */
const WAITS: Partial<Record<string, string>> = {
  moderated: 'Sent. It appears once the teaching team has approved it.',
  word: 'Sent. A word in it has to be approved by the teaching team first.',
  link: 'Sent. Its link has to be approved by the teaching team first.',
  delay: 'Sent. Others see it in a moment.',
};

function sentence({ what, until }: { what: string; until: WallMs | null }, now: WallMs): string {
  if (what === 'ban') return 'The teaching team has banned you from this room.';
  return until === null ? 'The teaching team has muted you: you can read, not write.' : `The teaching team has muted you for ${span(until - now)}. You can read meanwhile.`;
}

customElements.define('lectern-room', LecternRoom);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-room': LecternRoom;
  }
}
