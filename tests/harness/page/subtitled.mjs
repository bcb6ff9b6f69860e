/** Runs inside a page with one video, whose picture's clock it reads when subtitles come and go. */

/** Each cue that was shown: what the picture showed then, and the wall's clock. @type {Map<string, {text: string, clock: number | null, wall: number, media: number}>} */
const shown = new Map();
const canvas = document.createElement('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });

const element = () => document.querySelector('video');

/** The cues on the picture now. @returns {VTTCue[]} */
export function onPicture() {
  const showing = [...element().textTracks].filter(({ mode }) => mode === 'showing');
  return showing.flatMap(({ activeCues }) => [...(activeCues ?? [])]);
}

/** What a cue reads, without its markup. */
const words = (cue) => cue.getCueAsHTML().textContent;

export const texts = () => onPicture().map(words);

/** The first appearances since it was last forgotten. */
export const appearances = () => [...shown.values()];

export const forget = () => shown.clear();

/** The modes of all tracks, and how often each cue is in them. */
export function tracks() {
  return [...element().textTracks].map(({ label, mode, cues }) => {
    const ids = [...(cues ?? [])].map(({ id }) => id);
    return { label, mode, cues: ids.length, twice: ids.length - new Set(ids).size };
  });
}

function readClock() {
  const [width, height] = [element().videoWidth, element().videoHeight];
  const rows = globalThis.pictureClock.clockRows(height);
  if (canvas.width !== width || canvas.height !== rows) [canvas.width, canvas.height] = [width, rows];
  context.drawImage(element(), 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, rows);
  // Full-range green back to video luma.
  return globalThis.pictureClock.read((x, y) => 16 + (219 * data[4 * (y * width + x) + 1]) / 255, width, height);
}

export function follow() {
  const note = (_, { mediaTime }) => {
    const clock = readClock();
    for (const cue of onPicture()) {
      if (!shown.has(cue.id)) shown.set(cue.id, { text: words(cue), clock, wall: performance.timeOrigin + performance.now(), media: mediaTime });
    }
    element().requestVideoFrameCallback(note);
  };
  element().requestVideoFrameCallback(note);
}
