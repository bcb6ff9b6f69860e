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

function mediaSections(sdp: string): { mid: string; media: string }[] {
  return sdp
    .split(/\r?\n(?=m=)/)
    .slice(1)
    .map((section) => ({ media: section.split(/\r?\n/)[0] ?? '', mid: /^a=mid:(.*)$/m.exec(section)?.[1]?.trim() ?? '' }));
}

const attribute = (sdp: string, name: string): string => new RegExp(`^a=${name}:.*$`, 'm').exec(sdp)?.[0].trim() ?? '';
