/**
 * The list of messages alone, fed as a room would feed it: to look at it, and to measure it (tests/bench/list.mjs).
 * Beside it stand two plain lists on the same feed: the last 200 messages, as the room once had it, and all of them
 * with `content-visibility`. Not part of the build.
 */
import { LitElement, html, css } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import '../src/style/tokens.css';
import { parse } from '../src/core/markup';
import { Log } from '../src/core/log';
import type { Message } from '../src/core/message';
import { EMPTY, type Person, type State, type TextEvent } from '../src/core/wire';
import { classesOf, messageItem, type Handlers } from '../src/room/message-item';
import { LecternMessages } from '../src/room/lectern-messages';
import { baseStyles, sheet } from '../src/style/shared';
import listCss from '../src/room/lectern-messages.css?inline';

const people: Person[] = Array.from({ length: 40 }, (_, i) => ({ id: `p-${i * 7919}`, name: ['Ana Ruiz', 'Bo Lindqvist', 'Mei', 'Chidi', 'Oluwaseun Adébáyò', 'Łucja', 'علي', 'Prof. Okafor'][i % 8] ?? '', role: i === 7 ? 'host' : 'participant' }));
const bodies = [
  'Why do we ask for $\\det(A - \\lambda I) = 0$?',
  'Because then it is singular, so some non-zero vector is sent to zero: **that** is the eigenvector. And the set of all of them, with zero, is a subspace, the eigenspace.',
  'Is x_1 < x_2 assumed here?',
  'Thank you!',
  'The notes for today: https://example.edu/la1/notes.pdf (section 5.1)',
  'Does `numpy.linalg.eig` sort them?',
  'Yes',
  'So a rotation by 90° has complex eigenvalues?\nI get ±i.',
];

const text = (seq: number, more: Partial<TextEvent> = {}): TextEvent => ({ seq, at: seq * 45_000, sent: Date.now(), author: people[(seq * 31) % people.length] as Person, kind: 'text', body: bodies[(seq * 7) % bodies.length], ...more });

const handlers: Handlers = { act: () => undefined, menu: () => undefined, confirm: () => undefined, jump: () => undefined };
const plainItem = (message: Message, before: Message | undefined) => {
  const shown = {
    message, continued: before?.author.id === message.author.id, you: 'me', forYou: false, syntax: { links: 'on' as const, hosts: [], people: [] }, quoted: null, question: null,
    pinned: false, to: '', files: '', confirming: false, active: false, found: false, mayReply: true, mayApprove: false, on: handlers,
  };
  return html`<li class=${classesOf(shown)} data-seq=${message.seq} tabindex="-1">${messageItem(shown)}</li>`;
};

/** A list without a window, at its end. */
class PlainList extends LitElement {
  static override styles = [baseStyles, sheet(listCss), css`ol { contain: none; } ol > li { position: relative; } .lazy > li { content-visibility: auto; contain-intrinsic-block-size: auto 50px; }`];
  static override properties = { messages: { attribute: false } };
  declare messages: readonly Message[];
  /** 0: all of them, drawn when seen. */
  rendered = 200;
  constructor() {
    super();
    this.messages = [];
  }
  override render() {
    const messages = this.rendered ? this.messages.slice(-this.rendered) : this.messages;
    return html`<div class="scroller"><ol class=${this.rendered ? '' : 'lazy'}>${repeat(messages, ({ seq }) => seq, (message, i) => plainItem(message, messages[i - 1]))}</ol></div>`;
  }
  protected override updated() {
    const scroller = this.renderRoot.querySelector('.scroller');
    if (scroller) scroller.scrollTop = scroller.scrollHeight;
  }
}
customElements.define('plain-list', PlainList);

type Kind = 'last 200' | 'content-visibility' | 'window, staff' | 'window, participant';

const log = new Log();
let list: PlainList | LecternMessages;
let next = 1;

function open(kind: Kind, count: number, you: Person = { id: 'me', name: 'Me', role: kind === 'window, participant' ? 'participant' : 'moderator' }): void {
  document.querySelector('lectern-messages, plain-list')?.remove();
  log.restart({ from: 1, to: count }, Array.from({ length: count }, (_, i) => text(i + 1)));
  next = count + 1;
  if (kind.startsWith('window')) list = Object.assign(new LecternMessages(), { you, state: EMPTY, writable: true, empty: 'Nobody has written yet.', files: '/files' });
  else list = Object.assign(new PlainList(), { rendered: kind === 'last 200' ? 200 : 0 });
  list.style.cssText = 'display: flex; flex-direction: column; height: 100vh; background: var(--surface)';
  list.messages = log.messages;
  document.querySelector('main')?.append(list);
}

/** As the server sends: a frame every 50 ms. */
function say(events: TextEvent[]): void {
  log.append({ from: events[0]?.seq ?? next, to: events.at(-1)?.seq ?? next }, events);
  if (list instanceof LecternMessages) list.arrived(events, log.messages);
  list.messages = log.messages;
}

async function feed(perSecond: number, seconds: number) {
  const [frames, longTasks]: [number[], number[]] = [[], []];
  const observer = new PerformanceObserver((entries) => entries.getEntries().forEach(({ duration }) => longTasks.push(duration)));
  observer.observe({ entryTypes: ['longtask'] });
  const began = performance.now();
  const until = began + seconds * 1000;
  let [before, sent, running] = [began, 0, true];
  const frame = (now: number) => {
    frames.push(now - before);
    before = now;
    if (running) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  await new Promise<void>((done) => {
    const timer = setInterval(() => {
      const due = Math.min(perSecond * seconds, Math.floor(((performance.now() - began) / 1000) * perSecond));
      if (due > sent) say(Array.from({ length: due - sent }, () => text(next++)));
      sent = due;
      if (performance.now() < until) return;
      clearInterval(timer);
      done();
    }, 50);
  });
  running = false;
  observer.disconnect();
  return { frames, longTasks, sent, nodes: nodesOf(document.body), shown: atEnd() };
}

/** Whether the list has followed its end. */
function atEnd(): boolean {
  const scroller = list.shadowRoot?.querySelector('.scroller');
  return scroller != null && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
}

function nodesOf(root: Node): number {
  let count = 0;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ALL);
  for (let node: Node | null = walker.currentNode; node; node = walker.nextNode()) {
    count += 1;
    if (node instanceof Element && node.shadowRoot) count += nodesOf(node.shadowRoot);
  }
  return count;
}

/** One of each kind of message there is, as `you` has them. */
function furnish(you: Person): void {
  const [ana, mei, ali, host] = [0, 2, 6, 7].map((i) => people[i] as Person) as [Person, Person, Person, Person];
  const asked = next;
  const each: Partial<TextEvent>[] = [
    { author: ana, question: true, body: 'Does this also work for $\\frac{a_{11}}{b^2}$ and $\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$?' },
    { author: host, reply_to: asked, body: 'Yes: **every** square matrix over $\\mathbb{C}$ has one. See `eig(A)`.', mentions: [ana.id] },
    { author: host, announcement: true, body: 'Exercise sheet 5 is online: https://example.edu/la1/sheet5.pdf' },
    { author: mei, body: '```\nfor x in range(10):\n    print(x)\n```' },
    { author: you, body: 'My own message, which was changed', edited: Date.now() },
    { author: mei, body: `And you, @${you.name}, what do you think?`, mentions: [you.id] },
    { author: mei, body: 'Here is my sketch', files: [{ id: 'a.png', name: 'sketch.png', type: 'image/png', size: 48_213 }, { id: 'b.pdf', name: 'A long name of a paper about eigenvectors.pdf', type: 'application/pdf', size: 3_400_000 }] },
    { author: ana, body: 'This was deleted', deleted: true },
    { author: { id: 'anon-1', name: 'Anonymous', role: 'participant' }, anonymous: true, body: 'I am lost since the last slide' },
    { author: you, to: 'staff', body: 'Could I hand in later?' },
    { author: you.role === 'host' ? mei : you, held: 'moderated', body: 'Is this on the exam?' },
    { author: ali, body: 'مرحبا، هل هذا صحيح؟ $x^2$' },
  ];
  for (const one of each) say([text(next++, one)]);
  set({ waiting: [{ ref: 'r1', body: 'On its way' }], why: 'Sending…' });
}

const set = (fields: Partial<LecternMessages> & { state?: State }) => Object.assign(list, fields);

Object.assign(globalThis, { bench: { open, furnish, say, feed, text, set, parse, log, list: () => list, next: () => next, skip: (count: number) => (next += count), people } });
