/** Names behind an @, while one writes and when it is sent. */
import type { Person } from './wire';

/** What a list under the text can show. */
const OFFERED = 6;

export interface Completion {
  /** The @ and what is typed behind it. */
  from: number;
  to: number;
  people: Person[];
}

/** Who may be meant where the caret stands; null where no name is being typed. */
export function completionAt(text: string, caret: number, people: readonly Person[]): Completion | null {
  const typed = /(?:^|[\s(])@([\p{L}\p{N}\p{M}._-]{0,30})$/u.exec(text.slice(0, caret))?.[1];
  if (typed === undefined) return null;
  const found = people.filter(({ name }) => startsSo(name, typed)).slice(0, OFFERED);
  return found.length > 0 ? { from: caret - typed.length - 1, to: caret, people: found } : null;
}

/** The text with the name in it, and where the caret goes. */
export function completed(text: string, { from, to }: Completion, { name }: Person): { text: string; caret: number } {
  const mention = `@${name} `;
  return { text: text.slice(0, from) + mention + text.slice(to).replace(/^ /, ''), caret: from + mention.length };
}

/** The ids of those who are named in the text. */
export function mentioned(text: string, people: readonly Person[]): string[] {
  return people.filter(({ name }) => name !== '' && named(text, name)).map(({ id }) => id);
}

/** Any word of the name. */
const startsSo = (name: string, typed: string): boolean => {
  const words = [name, ...name.split(/[\s.(]+/)];
  return words.some((word) => word.toLocaleLowerCase().startsWith(typed.toLocaleLowerCase()));
};

function named(text: string, name: string): boolean {
  for (let i = text.indexOf(`@${name}`); i >= 0; i = text.indexOf(`@${name}`, i + 1)) {
    if (!/^[\p{L}\p{N}\p{M}]/u.test(text.slice(i + 1 + name.length))) return true;
  }
  return false;
}
