/** The words of a message outside the list of messages. */
import { parse } from '../core/markup';
import { isStaff, type Person, type Settings } from '../core/wire';
import { rendered } from './message-item';

interface Said {
  author: Person;
  body?: string | null;
}

/** What holds for participants' links does not bind who made it so. */
export const bodyOf = ({ author, body }: Said, { links, link_hosts }: Settings): unknown =>
  rendered(parse(body ?? '', { links: isStaff(author) ? 'on' : links, hosts: link_hosts, people: [] }), undefined, 0);
