/**
 * The little inline syntax of a message: `**bold**`, `` `code` ``, `$math$`, addresses, mentions.
 *
 * Text in, nodes out: never a string of HTML. Nothing is lost: the sources of all nodes, one after the other, are the
 * text. Only http and https become links, so no text can become a script.
 */

export type Node =
  | { kind: 'text'; text: string }
  /** `fence`: the backticks around it; three or more may hold line breaks. */
  | { kind: 'code'; text: string; fence: string }
  /** `fence`: `$` or `$$`. */
  | { kind: 'math'; text: string; fence: string }
  | { kind: 'link'; text: string; href: string }
  | { kind: 'mention'; text: string; id: string }
  | { kind: 'bold'; nodes: Node[] };

export interface Syntax {
  /** Which addresses become links; `list`: those of `hosts` and of names below them. */
  links: 'on' | 'list' | 'off';
  hosts: readonly string[];
  /** Who is mentioned, as far as their names are known. */
  people: readonly { id: string; name: string }[];
}

export const PLAIN: Syntax = { links: 'on', hosts: [], people: [] };

/** A message has 1,000 characters; what is far longer is no message of ours and stays as it is. */
const LONGEST = 20_000;
/** A formula is a line, not a program. */
export const LONGEST_MATH = 400;

const ADDRESS = /https?:\/\/[^\s<>"`]+/giy;
const WORD = /[\p{L}\p{N}_]/u;

export function parse(text: string, syntax: Syntax = PLAIN): Node[] {
  if (text === '') return [];
  return text.length > LONGEST ? [{ kind: 'text', text }] : spans(text, syntax, false);
}

/** What was written. */
export const sourceOf = (nodes: readonly Node[]): string => nodes.map(source).join('');

/** What is read: without the marks. */
export const textOf = (nodes: readonly Node[]): string => nodes.map((node) => (node.kind === 'bold' ? textOf(node.nodes) : node.text)).join('');

function source(node: Node): string {
  switch (node.kind) {
    case 'bold':
      return `**${sourceOf(node.nodes)}**`;
    case 'code':
    case 'math':
      return node.fence + node.text + node.fence;
    default:
      return node.text;
  }
}

/** A node that begins at a place, and how much of the text it takes. */
interface Found {
  node: Node;
  length: number;
}

function spans(text: string, syntax: Syntax, bold: boolean): Node[] {
  const nodes: Node[] = [];
  let [plain, at] = [0, 0];
  while (at < text.length) {
    const found = spanAt(text, at, syntax, bold);
    if (typeof found === 'number') {
      at += found;
      continue;
    }
    if (at > plain) nodes.push({ kind: 'text', text: text.slice(plain, at) });
    nodes.push(found.node);
    plain = at += found.length;
  }
  if (at > plain) nodes.push({ kind: 'text', text: text.slice(plain) });
  return nodes;
}

/** What begins here; or how many characters are nothing but text. */
function spanAt(text: string, at: number, syntax: Syntax, bold: boolean): Found | number {
  switch (text[at]) {
    case '`':
      return code(text, at);
    case '$':
      return math(text, at);
    case '*':
      return (bold ? null : strong(text, at, syntax)) ?? runLength(text, at, '*');
    case '@':
      return mention(text, at, syntax) ?? 1;
    case 'h':
    case 'H':
      return link(text, at, syntax) ?? 1;
    default:
      return 1;
  }
}

function code(text: string, at: number): Found | number {
  const length = runLength(text, at, '`');
  const fence = text.slice(at, at + length);
  const from = at + length;
  for (let end = text.indexOf(fence, from); end > 0; end = text.indexOf(fence, end)) {
    const closing = runLength(text, end, '`');
    if (closing !== length) {
      end += closing;
      continue;
    }
    const inner = text.slice(from, end);
    if (length < 3 && inner.includes('\n')) return length;
    return { node: { kind: 'code', text: inner, fence }, length: end + length - at };
  }
  return length;
}

/** As in Pandoc: no space inside the dollars, no digit behind them; so "$5 and $6" stays what it is. */
function math(text: string, at: number): Found | number {
  const length = runLength(text, at, '$');
  const before = text[at - 1] ?? ' ';
  if (length > 2 || before === '\\' || WORD.test(before)) return length;
  const fence = text.slice(at, at + length);
  const from = at + length;
  const end = text.indexOf(fence, from);
  const inner = text.slice(from, end);
  const whole = end > from && runLength(text, end, '$') === length && !/^\s|[\s\\]$|\n/.test(inner) && !/\d/.test(text[end + length] ?? '');
  if (!whole || inner.length > LONGEST_MATH) return length;
  return { node: { kind: 'math', text: inner, fence }, length: end + length - at };
}

/** Not inside a word: `x**2 + y**2` is a sum. */
function strong(text: string, at: number, syntax: Syntax): Found | null {
  if (runLength(text, at, '*') !== 2 || WORD.test(text[at - 1] ?? ' ') || /\s/.test(text[at + 2] ?? ' ')) return null;
  const end = text.indexOf('**', at + 2);
  const inner = text.slice(at + 2, end);
  if (end < 0 || /[\s*]$|\n/.test(inner) || text[end + 2] === '*' || WORD.test(text[end + 2] ?? ' ')) return null;
  return { node: { kind: 'bold', nodes: spans(inner, syntax, true) }, length: end + 2 - at };
}

function mention(text: string, at: number, { people }: Syntax): Found | null {
  if (WORD.test(text[at - 1] ?? ' ')) return null;
  const named = ({ name }: { name: string }) => name !== '' && text.startsWith(name, at + 1) && !WORD.test(text[at + 1 + name.length] ?? ' ');
  // "Ana Ruiz" before "Ana".
  const [person] = people.filter(named).sort((a, b) => b.name.length - a.name.length);
  return person ? { node: { kind: 'mention', text: `@${person.name}`, id: person.id }, length: person.name.length + 1 } : null;
}

function link(text: string, at: number, syntax: Syntax): Found | null {
  if (WORD.test(text[at - 1] ?? ' ')) return null;
  ADDRESS.lastIndex = at;
  const address = withoutPunctuation(ADDRESS.exec(text)?.[0] ?? '');
  const url = urlOf(address);
  if (!url || !isAllowed(url.hostname, syntax)) return null;
  return { node: { kind: 'link', text: address, href: url.href }, length: address.length };
}

function isAllowed(host: string, { links, hosts }: Syntax): boolean {
  if (links !== 'list') return links === 'on';
  return hosts.some((allowed) => host === allowed.toLowerCase() || host.endsWith(`.${allowed.toLowerCase()}`));
}

/** A full stop that ends the sentence is not part of the address; nor is a bracket that was opened before it. */
function withoutPunctuation(address: string): string {
  let kept = address.replace(/[.,;:!?'…*$]+$/, '');
  while (kept.endsWith(')') && count(kept, ')') > count(kept, '(')) kept = kept.slice(0, -1).replace(/[.,;:!?'…]+$/, '');
  return kept;
}

const count = (text: string, character: string): number => text.split(character).length - 1;

function urlOf(address: string): URL | null {
  const url = URL.canParse(address) ? new URL(address) : null;
  return url && (url.protocol === 'http:' || url.protocol === 'https:') ? url : null;
}

function runLength(text: string, at: number, character: string): number {
  let end = at;
  while (text[end] === character) end += 1;
  return end - at;
}
