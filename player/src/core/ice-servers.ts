/** STUN and TURN servers as a WHIP server tells them: `Link: <turn:host>; rel="ice-server"; username="…"` (RFC 9725 §4.6). */
export function iceServers(link: string | null): RTCIceServer[] {
  return [...(link ?? '').matchAll(/<((?:stun|turn)s?:[^>]*)>((?:\s*;\s*[\w-]+=(?:"(?:[^"\\]|\\.)*"|[^;,\s]*))*)/g)].flatMap(([, url = '', rest = '']) => {
    const parameters = new Map([...rest.matchAll(/([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;,\s]*))/g)].map(([, name = '', quoted, plain]) => [name, quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '']));
    if (parameters.get('rel') !== 'ice-server') return [];
    const [username, credential] = [parameters.get('username'), parameters.get('credential')];
    return [{ urls: url, ...(username === undefined ? {} : { username }), ...(credential === undefined ? {} : { credential }) }];
  });
}
