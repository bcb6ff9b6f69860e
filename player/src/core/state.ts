/**
 * How a room stands: one pure fold of its events, used live, rewound and in the replay. The state comes whole with
 * each join and at the head of each chunk; from there the events lead on, in the order of the room.
 */
import { noteOf, reportOf, type Note, type Person, type Poll, type PollEvent, type Question, type Report, type RoomEvent, type StaffState, type State, type Tally, type TextEvent } from './wire';

/** As many as the server tells of. */
const QUESTIONS = 200;
const POLLS = 20;
const HANDS = 100;
/** What staff wrote down lately. */
const NOTES = 100;

/** The state after the event; the same object where it changes nothing. */
export function fold(state: State, event: RoomEvent): State {
  switch (event.kind) {
    case 'text':
      return said(state, event);
    case 'edit':
      return edited(state, event.target, (message) => (event.body === undefined ? bodiless(message) : { ...message, body: event.body, edited: event.sent }));
    case 'delete':
      return unreported(without(state, ({ seq }) => seq === event.target), event.target);
    case 'discard':
      return released(state, event.target);
    case 'pin':
      return { ...state, pinned: event.message?.deleted ? null : (event.message ?? null) };
    case 'unpin':
      return state.pinned?.seq === event.target ? { ...state, pinned: null } : state;
    case 'question':
      return question(state, event.target, (one) => ({ ...one, state: event.state }));
    case 'poll':
      return { ...state, polls: [...state.polls.filter(({ seq }) => seq !== event.seq), opened(event, state.staff !== undefined)].slice(-POLLS) };
    case 'close':
      return poll(state, event.target, (one) => ({ ...one, closed: true, counts: event.counts, voters: event.voters, right: event.right ?? null }));
    case 'hand':
      return hand(state, event.person ?? event.author, event.raised, event.sent);
    case 'settings':
      return { ...state, settings: event.settings };
    case 'sanction':
      return sanctioned(state, event.person, { person: event.person, what: event.what, until: event.until ?? null });
    case 'report':
      return reported(state, reportOf(event));
    case 'note':
      return noted(state, noteOf(event));
    case 'erase':
      return erased(state, event.person);
    case 'tally':
      return tallied(state, event);
    case 'reactions':
      return state;
  }
}

export const foldAll = (state: State, events: readonly RoomEvent[]): State => events.reduce(fold, state);

/** Votes so far, of a poll or a question. */
export function tallied(state: State, { target, counts, voters }: Tally): State {
  const counted = poll(state, target, (one) => (one.closed ? one : { ...one, counts, voters }));
  return question(counted, target, (one) => ({ ...one, votes: counts?.[0] ?? voters }));
}

/** One's own vote. The tally that counts it comes by itself. */
export function voted(state: State, target: number, choices: readonly number[]): State {
  const marked = poll(state, target, ({ voted: _, ...one }) => (choices.length > 0 ? { ...one, voted: [...choices] } : one));
  return question(marked, target, (one) => ({ ...one, voted: choices.length > 0 }));
}

function said(state: State, event: TextEvent): State {
  const next = event.of === undefined ? state : released(state, event.of);
  if (event.deleted) return without(next, ({ seq }) => seq === event.seq);
  if (event.held !== undefined) return staffly(next, (staff) => ({ ...staff, held: [...staff.held.filter(({ seq }) => seq !== event.seq), event] }));
  if (event.question !== true || event.to !== undefined) return next;
  if (next.questions.some(({ message }) => message.seq === event.seq)) return edited(next, event.seq, () => event);
  const asked: Question = { message: event, state: 'open', votes: 0 };
  return { ...next, questions: [...next.questions, asked].slice(-QUESTIONS) };
}

const unreported = (state: State, target: number): State => staffly(state, (staff) => ({ ...staff, reports: staff.reports.filter((report) => report.target !== target) }));

const released = (state: State, seq: number): State =>
  state.staff?.held.some((message) => message.seq === seq) ? staffly(state, (staff) => ({ ...staff, held: staff.held.filter((message) => message.seq !== seq) })) : state;

const bodiless = ({ body: _, ...message }: TextEvent): TextEvent => ({ ...message, deleted: true });

/** A text wherever it stands. */
function edited(state: State, seq: number, change: (message: TextEvent) => TextEvent): State {
  const anew = (message: TextEvent) => (message.seq === seq ? change(message) : message);
  const next = question(state, seq, (one) => ({ ...one, message: change(one.message) }));
  const held = next.staff?.held.some((message) => message.seq === seq) ? staffly(next, (staff) => ({ ...staff, held: staff.held.map(anew) })) : next;
  return held.pinned?.seq === seq ? { ...held, pinned: change(held.pinned) } : held;
}

/** Texts that are gone, wherever they stood. */
function without(state: State, gone: (message: TextEvent) => boolean): State {
  const questions = state.questions.filter(({ message }) => !gone(message));
  const next = {
    ...state,
    questions: questions.length === state.questions.length ? state.questions : questions,
    pinned: state.pinned && gone(state.pinned) ? null : state.pinned,
  };
  return staffly(next, (staff) => ({ ...staff, held: staff.held.filter((message) => !gone(message)) }));
}

const staffly = (state: State, change: (staff: StaffState) => StaffState): State => (state.staff ? { ...state, staff: change(state.staff) } : state);

function question(state: State, seq: number, change: (question: Question) => Question): State {
  if (!state.questions.some(({ message }) => message.seq === seq)) return state;
  return { ...state, questions: state.questions.map((one) => (one.message.seq === seq ? change(one) : one)) };
}

function poll(state: State, seq: number, change: (poll: Poll) => Poll): State {
  if (!state.polls.some((one) => one.seq === seq)) return state;
  return { ...state, polls: state.polls.map((one) => (one.seq === seq ? change(one) : one)) };
}

function opened({ seq, at, question: words, options, multiple, quiz, results, closes }: PollEvent, staff: boolean): Poll {
  const counts = staff || results === 'live' ? options.map(() => 0) : null;
  return { seq, at, question: words, options, multiple, quiz, results, closes, closed: false, counts, voters: 0, right: null };
}

function hand(state: State, person: Person | null | undefined, raised: boolean, since: number): State {
  if (!person) return state;
  const { count, people } = state.hands;
  const up = people.some((one) => one.person.id === person.id);
  // Of many hands only the first are known by name.
  if (!raised && !up && count > people.length) return { ...state, hands: { count: count - 1, people } };
  if (up === raised) return state;
  if (raised) return { ...state, hands: { count: count + 1, people: [...people, { person, since }].slice(0, HANDS) } };
  return { ...state, hands: { count: Math.max(0, count - 1), people: people.filter((one) => one.person.id !== person.id) } };
}

/** Who is silenced has no hand up any more. */
function sanctioned(before: State, { id }: Person, sanction: StaffState['sanctions'][number]): State {
  const up = before.hands.people.find(({ person }) => person.id === id)?.person;
  const state = sanction.what === 'lift' ? before : hand(before, up, false, 0);
  return staffly(state, (staff) => {
    const others = staff.sanctions.filter(({ person }) => person.id !== id);
    return { ...staff, sanctions: sanction.what === 'lift' ? others : [...others, sanction] };
  });
}

const reported = (state: State, report: Report | null): State =>
  report ? staffly(state, (staff) => ({ ...staff, reports: [...staff.reports.filter(({ seq }) => seq !== report.seq), report] })) : state;

const noted = (state: State, note: Note | null): State =>
  note ? staffly(state, (staff) => ({ ...staff, notes: [...staff.notes.filter(({ seq }) => seq !== note.seq), note].slice(-NOTES) })) : state;

/** Nothing of this person is left. */
function erased(state: State, id: string): State {
  const up = state.hands.people.find(({ person }) => person.id === id)?.person;
  const next = hand(without(state, ({ author }) => author.id === id), up, false, 0);
  return staffly(next, (staff) => ({
    ...staff,
    reports: staff.reports.filter(({ by }) => by.id !== id),
    notes: staff.notes.filter(({ person }) => person !== id),
  }));
}
