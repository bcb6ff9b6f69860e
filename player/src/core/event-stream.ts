/** Server-sent events out of a body that comes in pieces (HTML, 9.2.6), as far as a room needs them. */
export interface ServerEvent {
  /** `message` where it has no name. */
  name: string;
  data: string;
}

export class EventStream {
  #rest = '';

  /** The events that this piece completes. Comments and ids are passed over. */
  push(piece: string): ServerEvent[] {
    const blocks = (this.#rest + piece).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    return blocks.flatMap(read);
  }
}

function read(block: string): ServerEvent[] {
  let name = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (field === 'event') name = value;
    if (field === 'data') data.push(value);
  }
  return data.length > 0 ? [{ name, data: data.join('\n') }] : [];
}
