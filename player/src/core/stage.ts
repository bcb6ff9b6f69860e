/** Who sends to a lecture, and how their pictures share the canvas. */

export interface Layout {
  arrangement: 'auto' | 'solo' | 'picture-in-picture' | 'side-by-side';
  /** The most important first; none: whoever sends, screens first. */
  sources: string[];
}

export interface Source {
  source: string;
  /** Whose it is. */
  name: string | null;
  /** What its picture and its sound come as; null while none has come. */
  video: string | null;
  audio: string | null;
  /** Nothing of it comes any more, though nobody ended it: its picture has given its place up. */
  silent: boolean;
  /** Unix milliseconds. */
  since: number | null;
}

export interface Stage {
  layout: Layout;
  on_air: Source[];
  /** The sources that co-hosts are invited to be, on air or not. */
  cohosts: string[];
}

/** Somebody who was invited from this page. */
export interface Invited {
  source: string;
  name: string;
  /** Their studio, as a path of the server. */
  studio: string;
}

export interface Cohost {
  source: string;
  name: string;
  onAir: boolean;
  /** Null where another page made it: nobody but the bearer has it. */
  studio: string | null;
}

/** What comes of a source, or is missed, in words. */
export function comesAs({ video, audio, silent }: Source): string {
  if (video === null && audio === null) return 'connecting…';
  const both = video !== null && audio !== null;
  if (silent) return both ? 'no picture and no sound arrive' : `no ${video === null ? 'sound' : 'picture'} arrives`;
  return both ? 'picture and sound' : video === null ? 'sound' : 'picture';
}

/** What a list says of those who fell silent, for whoever does not see it. */
export const silences = (onAir: readonly Source[]): string[] => onAir.filter(({ silent }) => silent).map((one) => `${called(one)}: ${comesAs(one)}.`);

/** Whose source it is, and what, for who hears it without the rest of the list. */
export const called = ({ source, name }: Source): string => `${name ?? source}, ${isScreen(source) ? 'screen' : 'camera'}`;

export const MAIN = 'main';

export const isScreen = (source: string): boolean => source === 'screen' || source.endsWith('-screen');

/** What the second picture of a publisher is called. */
export const screenOf = (source: string): string => (source === MAIN ? 'screen' : `${source.slice(0, 25)}-screen`);

export interface Choice {
  id: 'auto' | 'camera' | 'screen' | 'corner' | 'sides';
  words: string;
  layout: Layout;
  /** It is how the pictures stand now. */
  current: boolean;
}

/** What a layout bar offers. */
export function choices({ layout, on_air }: Stage): Choice[] {
  const [large, small] = pair(on_air);
  const is = (arrangement: Layout['arrangement']) => layout.arrangement === arrangement;
  const alone = layout.arrangement === 'solo' ? layout.sources[0] : undefined;
  const screen = on_air.find(({ source, video }) => video !== null && isScreen(source))?.source ?? screenOf(MAIN);
  return [
    { id: 'auto', words: 'Auto', layout: { arrangement: 'auto', sources: [] }, current: is('auto') },
    { id: 'camera', words: 'Camera only', layout: solo(MAIN), current: alone === MAIN },
    { id: 'screen', words: 'Screen only', layout: solo(screen), current: alone !== undefined && isScreen(alone) },
    { id: 'corner', words: 'Corner', layout: { arrangement: 'picture-in-picture', sources: [large, small] }, current: is('picture-in-picture') },
    { id: 'sides', words: 'Side by side', layout: { arrangement: 'side-by-side', sources: [] }, current: is('side-by-side') },
  ];
}

export const solo = (source: string): Layout => ({ arrangement: 'solo', sources: [source] });

/** This source in the corner of another one. */
export function inCorner(source: string, { layout, on_air }: Stage): Layout {
  const now = layout.arrangement === 'picture-in-picture' ? layout.sources : pair(on_air);
  const large = [...now, ...senders(on_air)].find((other) => other !== source) ?? MAIN;
  return { arrangement: 'picture-in-picture', sources: [large, source] };
}

/** Everybody who is invited, with the links of those who were from here. */
export function cohosts({ cohosts, on_air }: Stage, invited: readonly Invited[]): Cohost[] {
  const here = new Map(invited.map((one) => [one.source, one]));
  return [...new Set([...cohosts, ...here.keys()])].map((source) => {
    const sends = on_air.filter((one) => one.source === source || one.source === screenOf(source));
    const link = here.get(source);
    return { source, name: link?.name ?? sends[0]?.name ?? source, onAir: sends.length > 0, studio: link?.studio ?? null };
  });
}

/** The same pictures, the other way round; null where there is no other way. */
export function swapped({ layout, on_air }: Stage): Layout | null {
  if (layout.arrangement !== 'picture-in-picture' && layout.arrangement !== 'side-by-side') return null;
  const sources = layout.sources.length > 0 ? layout.sources : senders(on_air);
  return sources.length > 1 ? { ...layout, sources: sources.slice(0, MAX_PLACES).reverse() } : null;
}

/** More is not put on one canvas. */
const MAX_PLACES = 4;

/** Whoever sends a picture, as the server orders them by itself: screens first, then as they came. */
function senders(onAir: readonly Source[]): string[] {
  const pictures = onAir.filter(({ video }) => video !== null).map(({ source }) => source);
  return [...pictures.filter(isScreen), ...pictures.filter((source) => !isScreen(source))];
}

/** The large one and the one in its corner: a screen and a camera where there are both; they may still be to come. */
function pair(onAir: readonly Source[]): [string, string] {
  const sending = senders(onAir);
  const screen = sending.find(isScreen);
  const cameras = sending.filter((source) => !isScreen(source)).sort((a, b) => Number(b === MAIN) - Number(a === MAIN));
  const [first = MAIN, second] = cameras;
  return screen === undefined && second !== undefined ? [first, second] : [screen ?? screenOf(MAIN), first];
}
