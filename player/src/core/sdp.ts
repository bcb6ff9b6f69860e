/** The little of SDP that a WHIP client must write itself. */

export interface Candidate {
  /** `candidate:…`, as the browser gives it. */
  candidate: string;
  mid: string;
}

/** A trickle fragment (RFC 8840 §9) with candidates that were found after the offer was sent. */
export function trickleFragment(offer: string, candidates: readonly Candidate[]): string {
  const sections = mediaSections(offer);
  const lines = [attribute(offer, 'ice-ufrag'), attribute(offer, 'ice-pwd')];
  for (const { mid, media } of sections) {
    const own = candidates.filter((candidate) => candidate.mid === mid);
    if (own.length > 0) lines.push(media, `a=mid:${mid}`, ...own.map(({ candidate }) => `a=${candidate}`));
  }
  return `${lines.filter((line) => line !== '').join('\r\n')}\r\n`;
}

/** Asks for a restart of ICE (RFC 9725 §4.3.3): the credentials of the new offer, and what candidates it has by now. */
export function restartFragment(offer: string): string {
  const [first] = mediaSections(offer);
  const candidates = offer.split(/\r?\n/).filter((line) => line.startsWith('a=candidate:'));
  const lines = [attribute(offer, 'ice-ufrag'), attribute(offer, 'ice-pwd'), first?.media ?? '', `a=mid:${first?.mid ?? ''}`, ...candidates];
  return `${lines.filter((line) => line !== '').join('\r\n')}\r\n`;
}

/** The server's answer as it stands after the restart that this fragment grants: other credentials, its own candidates. */
export function restartedAnswer(answer: string, fragment: string): string {
  const candidates = fragment.split(/\r?\n/).filter((line) => /^a=(candidate:|end-of-candidates)/.test(line));
  const kept = answer
    .split(/\r?\n/)
    .filter((line) => line !== '' && !/^a=(candidate:|end-of-candidates)/.test(line))
    .map((line) => (/^a=ice-(ufrag|pwd):/.test(line) ? attribute(fragment, line.slice(2).split(':')[0] ?? '') : line));
  // Those of the first section serve the whole bundle.
  const second = kept.findIndex((line, n) => line.startsWith('m=') && kept.slice(0, n).some((before) => before.startsWith('m=')));
  kept.splice(second < 0 ? kept.length : second, 0, ...candidates);
  return `${kept.join('\r\n')}\r\n`;
}

function mediaSections(sdp: string): { mid: string; media: string }[] {
  return sdp
    .split(/\r?\n(?=m=)/)
    .slice(1)
    .map((section) => ({ media: section.split(/\r?\n/)[0] ?? '', mid: /^a=mid:(.*)$/m.exec(section)?.[1]?.trim() ?? '' }));
}

const attribute = (sdp: string, name: string): string => new RegExp(`^a=${name}:.*$`, 'm').exec(sdp)?.[0].trim() ?? '';
