/** A room as the server keeps it, in memory and without its care: enough of `docs/room-protocol.md` to work on the pages. */
import { createServer } from 'vite';

const WINDOW = 2_880_000;
const REACTIONS_MS = 1_000;

/** The page's own fold, so that there is only one. */
const vite = await createServer({ configFile: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, hmr: false, ws: false, watch: null } });
const { fold, tallied } = await vite.ssrLoadModule('/src/core/state.ts');
const { EMPTY } = await vite.ssrLoadModule('/src/core/wire.ts');
await vite.close();

const EVERYONE = () => true;
const staffOnly = (you) => you.role === 'host' || you.role === 'moderator';
const staffAnd = (...ids) => (you) => staffOnly(you) || ids.includes(you.id);

class Refused extends Error {
  constructor(code, message, retryAfterMs) {
    super(message);
    Object.assign(this, { code, retryAfterMs });
  }
}

export class Room {
  /** Events with who sees them. */
  entries = [];
  people = new Map();
  state = { ...EMPTY, staff: { held: [], reports: [], sanctions: [], notes: [] } };
  votes = new Map();
  quizzes = new Map();
  lastSaid = new Map();
  #reacted = {};

  /** @param {() => {state: string, origin: number | null, duration: number | null}} line */
  constructor(line) {
    this.line = line;
    this.reacting = setInterval(() => this.#flushReactions(), REACTIONS_MS);
  }

  get now() {
    const { origin } = this.line();
    return origin === null ? 0 : Math.max(0, Math.round((Date.now() - origin) * 90));
  }

  add(bare, sees = EVERYONE, at = this.now) {
    const event = { seq: this.entries.length + 1, at, sent: Date.now(), ...bare };
    this.entries.push({ event, sees });
    this.state = fold(this.state, event);
    for (const [socket, you] of this.people) {
      const events = sees(you) ? [this.#as(event, you)] : [];
      socket.send(JSON.stringify({ type: 'events', from: event.seq, to: event.seq, events }));
    }
    return event;
  }

  /** An anonymous author is nobody but to staff, where the settings say so. */
  #as(event, you) {
    if (!event.anonymous || (staffOnly(you) && this.state.settings.anonymous === 'staff')) return event;
    return { ...event, author: { id: `anonymous-${event.author.id.length}`, name: 'Anonymous', role: 'participant' } };
  }

  tell(frame, to = EVERYONE) {
    for (const [socket, you] of this.people) if (to(you)) socket.send(JSON.stringify(frame));
  }

  viewOf(you) {
    const { staff, ...state } = this.state;
    const mine = (target) => this.votes.get(target)?.get(you.id);
    const whole = staffOnly(you);
    return {
      ...state,
      questions: state.questions.filter((one) => one.state !== 'dismissed').map((one) => ({ ...one, ...(mine(one.message.seq)?.length && { voted: true }) })),
      polls: state.polls.map((one) => ({ ...one, counts: whole || one.closed || one.results === 'live' ? one.counts : null, ...(mine(one.seq)?.length && { voted: mine(one.seq) }) })),
      ...(whole && { staff: { ...staff, reports: staff.reports.map(({ by, ...report }) => ({ ...report, at: 0, sent: 0, author: by, kind: 'report' })), notes: [] } }),
    };
  }

  join(socket, you, resume) {
    this.people.set(socket, you);
    const from = resume?.epoch === 'mock' ? resume.seq + 1 : Math.max(1, this.entries.length - 99);
    const events = this.page(from, Infinity, you);
    socket.send(
      JSON.stringify({
        type: 'joined', epoch: 'mock', from, seq: this.entries.length, you, now: Date.now(), line: this.line(), limits: { body: 1000, messages: 5, per_seconds: 5 },
        state: this.viewOf(you), events, resumed: resume?.epoch === 'mock',
      }),
    );
    this.#count();
  }

  leave(socket) {
    this.people.delete(socket);
    this.#count();
  }

  #count() {
    this.tell({ type: 'presence', count: 41 + new Set([...this.people.values()].map(({ id }) => id)).size });
  }

  page(from, to, you) {
    return this.entries.filter(({ event, sees }) => event.seq >= from && event.seq <= to && sees(you)).map(({ event }) => this.#as(event, you));
  }

  /** The answer to a request. */
  ask(you, frame) {
    const { ref } = frame;
    try {
      const done = ACTIONS[frame.type];
      if (!done) throw new Refused('malformed', `The room knows no ${frame.type}.`);
      if (STAFF.has(frame.type) && !staffOnly(you)) throw new Refused('forbidden', 'Only hosts and moderators may do that.');
      const event = done(this, you, frame);
      if (frame.type === 'react') return null;
      return frame.type === 'roster' ? { ref, ...event } : { type: 'ack', ref, seq: event?.seq ?? this.entries.length, at: event?.at ?? 0, ...(event?.held && { held: event.held }) };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { type: 'refused', ref, code: error.code, message: error.message, ...(error.retryAfterMs && { retry_after_ms: error.retryAfterMs }) };
    }
  }

  text(seq) {
    const entry = this.entries.find(({ event }) => event.seq === seq && event.kind === 'text' && !event.deleted);
    if (!entry) throw new Refused('not_found', 'That message is not there any more.');
    return entry;
  }

  react(emoji, count = 1) {
    this.#reacted[emoji] = (this.#reacted[emoji] ?? 0) + count;
  }

  #flushReactions() {
    if (Object.keys(this.#reacted).length === 0) return;
    this.add({ kind: 'reactions', counts: this.#reacted });
    this.#reacted = {};
  }

  tally(target) {
    const votes = [...(this.votes.get(target)?.values() ?? [])].filter(({ length }) => length > 0);
    const poll = this.state.polls.find(({ seq }) => seq === target);
    const counts = (poll?.options ?? ['']).map((_, i) => votes.filter((choices) => choices.includes(i)).length);
    return { target, counts, voters: votes.length };
  }

  count(target) {
    const tally = this.tally(target);
    this.state = tallied(this.state, tally);
    const poll = this.state.polls.find(({ seq }) => seq === target);
    const hidden = poll && poll.results === 'closed' && !poll.closed;
    this.tell({ type: 'tally', tallies: [tally] }, staffOnly);
    this.tell({ type: 'tally', tallies: [hidden ? { ...tally, counts: null } : tally] }, (you) => !staffOnly(you));
  }

  close(target, author) {
    const poll = this.state.polls.find(({ seq, closed }) => seq === target && !closed);
    if (!poll) throw new Refused('closed', 'The poll is closed already.');
    return this.add({ author, kind: 'close', ...this.tally(target), right: this.quizzes.get(target) ?? null });
  }

  get texts() {
    return this.entries.filter(({ event, sees }) => event.kind === 'text' && !event.deleted && sees === EVERYONE).map(({ event }) => event);
  }

  /** Chunks as the replay has them: the state at the head of each window, then its events. */
  chunks() {
    const events = this.entries.filter(({ sees, event }) => sees === EVERYONE && !event.deleted).map(({ event }) => event);
    const sorted = events.toSorted((a, b) => a.at - b.at || a.seq - b.seq);
    return [...new Set(sorted.map(({ at }) => Math.floor(at / WINDOW)))].map((n) => {
      const own = sorted.filter(({ at }) => Math.floor(at / WINDOW) === n);
      const state = sorted.filter(({ at }) => at < n * WINDOW).toSorted((a, b) => a.seq - b.seq).reduce(fold, EMPTY);
      return { v: 2, n, name: `${n}.${own.length}-${own.at(-1).seq}.json`, count: own.filter(({ kind }) => kind === 'text').length, from: n * WINDOW, to: (n + 1) * WINDOW, state, events: own };
    });
  }
}

const STAFF = new Set(['question', 'pin', 'unpin', 'poll', 'close', 'settings', 'approve', 'discard', 'sanction', 'note', 'roster']);

function mayWrite(room, you, frame) {
  const { settings } = room.state;
  if (staffOnly(you)) return undefined;
  if (you.role === 'viewer') throw new Refused('forbidden', 'Viewers read only.');
  const sanction = room.state.staff.sanctions.find(({ person }) => person.id === you.id);
  if (sanction) throw new Refused('muted', 'The teaching team has muted you.');
  const allowed = frame.to ? settings.private : frame.question ? settings.questions : settings.messages !== 'off';
  if (!allowed) throw new Refused('mode', 'That cannot be written here now.');
  if (settings.words?.reject.some((word) => frame.body.includes(word))) throw new Refused('word', 'This holds a word that is not wanted here.');
  const wait = (room.lastSaid.get(you.id) ?? 0) + settings.slow_ms - Date.now();
  if (wait > 0) throw new Refused('slow', 'Slow mode is on.', wait);
  room.lastSaid.set(you.id, Date.now());
  return !frame.to && settings.messages === 'moderated' ? 'moderated' : undefined;
}

const ACTIONS = {
  say(room, you, { body, playing, reply_to, mentions, question, anonymous, to, files, announcement }) {
    const held = mayWrite(room, you, { body, question, to });
    const { origin } = room.line();
    const at = playing == null || origin === null ? undefined : Math.max(0, Math.round((playing - origin) * 90));
    const given = { reply_to, mentions, question, anonymous, to, announcement, held, files: files?.map((id) => uploads.get(id)) };
    const bare = { author: you, kind: 'text', body, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
    return room.add(bare, held ? staffAnd(you.id) : to ? staffAnd(you.id, to) : EVERYONE, at);
  },
  edit(room, you, { seq, body }) {
    const { event, sees } = room.text(seq);
    if (event.author.id !== you.id) throw new Refused('forbidden', 'Only its author may edit a message.');
    if (Date.now() - event.sent > room.state.settings.edit_ms) throw new Refused('closed', 'The time to edit this message is over.');
    Object.assign(event, { body, edited: Date.now() });
    return room.add({ author: you, kind: 'edit', target: seq, body }, sees);
  },
  delete(room, you, { seq }) {
    const entry = room.text(seq);
    if (entry.event.author.id !== you.id && !staffOnly(you)) throw new Refused('forbidden', 'Only its author may delete a message.');
    Object.assign(entry.event, { deleted: true, body: undefined, files: undefined });
    return room.add({ author: you, kind: 'delete', target: seq }, entry.sees);
  },
  react(room, you, { emoji }) {
    if (!room.state.settings.reactions) throw new Refused('mode', 'Reactions are off.');
    room.react(emoji);
  },
  vote(room, you, { target, choices }) {
    const poll = room.state.polls.find(({ seq }) => seq === target);
    if (poll?.closed) throw new Refused('closed', 'The poll is closed.');
    room.votes.set(target, (room.votes.get(target) ?? new Map()).set(you.id, choices));
    room.count(target);
  },
  hand(room, you, { raised, person }) {
    const whose = room.state.hands.people.find((one) => one.person.id === (person ?? you.id))?.person;
    return room.add({ author: you, kind: 'hand', raised, ...(person && whose && { person: whose }) });
  },
  report(room, you, { target, reason }) {
    room.text(target);
    return room.add({ author: you, kind: 'report', target, reason }, staffAnd(you.id));
  },
  question: (room, you, { target, state }) => room.add({ author: you, kind: 'question', target, state }),
  pin: (room, you, { target }) => room.add({ author: you, kind: 'pin', target, message: room.text(target).event }),
  unpin: (room, you, { target }) => room.add({ author: you, kind: 'unpin', target }),
  poll(room, you, { question, options, multiple, right, results, open_ms }) {
    const event = room.add({ author: you, kind: 'poll', question, options, multiple, quiz: right !== undefined, results, closes: open_ms === null ? null : Date.now() + open_ms });
    if (right !== undefined) room.quizzes.set(event.seq, right);
    if (open_ms !== null) setTimeout(() => room.state.polls.some(({ seq, closed }) => seq === event.seq && !closed) && room.close(event.seq), open_ms);
    return event;
  },
  close: (room, you, { target }) => room.close(target, you),
  settings: (room, you, { set }) => room.add({ author: you, kind: 'settings', settings: { ...room.state.settings, ...set } }),
  approve(room, you, { target }) {
    const { held: _, ...event } = room.text(target).event;
    return room.add({ ...event, seq: room.entries.length + 1, of: target });
  },
  discard(room, you, { target }) {
    const { event, sees } = room.text(target);
    return room.add({ author: you, kind: 'discard', target: event.seq }, sees);
  },
  sanction(room, you, { person, what, for_ms, purge }) {
    const who = room.entries.map(({ event }) => event.author).find((author) => author?.id === person) ?? [...room.people.values()].find(({ id }) => id === person);
    if (!who) throw new Refused('not_found', 'There is no such person.');
    if (purge) for (const { event } of [...room.entries]) if (event.kind === 'text' && event.author.id === person && !event.deleted) ACTIONS.delete(room, you, { seq: event.seq });
    return room.add({ author: you, kind: 'sanction', person: who, what, until: for_ms ? Date.now() + for_ms : null }, staffAnd(person));
  },
  note(room, you, { person, target, body }) {
    return room.add({ author: you, kind: 'note', body, ...(person && { person }), ...(target && { target }) }, staffOnly);
  },
  roster(room) {
    const people = [...new Map([...room.people.values()].map((person) => [person.id, person])).values()];
    return { type: 'roster', count: people.length, people: people.map((person) => ({ person, since: Date.now() })) };
  },
};

const uploads = new Map();
export function upload(name, type, size) {
  const id = `${uploads.size.toString(16).padStart(8, '0')}.${name.split('.').at(-1)}`;
  const attached = { id, name, type, size };
  uploads.set(id, attached);
  return attached;
}
