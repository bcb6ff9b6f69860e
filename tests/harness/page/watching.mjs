/**
 * Runs in a watch page before the page's own scripts: notes every picture that is shown (its clock, and where the
 * player says that it is), and every word that the page sends to its room. No imports: an init script.
 */

/** Twenty minutes at 30 fps: longer than any story or soak looks back. */
const MOST_PICTURES = 36_000;

/**
 * `media`: the picture's place on the video's own time line, seconds. `position`: the wall time that the player's map
 * gives this picture (its report, less what the playhead has gone on since).
 * @type {{wall: number, clock: number | null, media: number, position: number | null, height: number}[]}
 */
const pictures = [];
/** What was sent to the room, with what the picture showed at that moment. */
const said = [];
/** Stalls: moments at which the player ran dry. */
const stalls = [];
const canvas = document.createElement('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });

const wall = () => performance.timeOrigin + performance.now();

/** The page's video, in whatever shadow it stands. @returns {HTMLVideoElement | null} */
export function video(root = document) {
  const found = root.querySelector('video');
  if (found) return found;
  for (const element of root.querySelectorAll('*')) {
    const within = element.shadowRoot && video(element.shadowRoot);
    if (within) return within;
  }
  return null;
}

/** Wall time of what is playing, as the page's player reports it: what it stamps messages with. */
export function reported() {
  const date = player()?.playingDate;
  return date == null ? null : date.getTime();
}

export const player = () => document.querySelector('lectern-player');

/** Everything noted since. @param {number} since Unix ms */
export const notes = (since = 0) => ({
  pictures: pictures.filter((picture) => picture.wall >= since),
  said: said.filter((word) => word.wall >= since),
  stalls: stalls.filter((stall) => stall.wall >= since),
});

/** The picture on show. */
export const shown = () => pictures.at(-1) ?? null;

/** What the picture's clock says at the playhead: a frame lasts 33 ms, and on a busy machine is noted late. */
export function clockNow() {
  const picture = shown();
  if (!picture || picture.clock === null) return null;
  return picture.clock + (video().currentTime - picture.media) * 1000;
}

/**
 * What the picture shows when `text` first appears in the room.
 * @param {string} text @returns {Promise<{wall: number, clock: number | null, reported: number | null}>}
 */
export async function appears(text) {
  for (;;) {
    if (roomText().includes(text)) return { wall: wall(), clock: clockNow(), reported: reported() };
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

/** The room as it can be read. */
export const roomText = () => textOf(document.querySelector('lectern-room'));

/** The accessible name, near enough, of what has the focus in whatever shadow. */
export function focused() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  const label = element?.getAttribute('aria-label') ?? element?.labels?.[0]?.innerText ?? element?.innerText ?? '';
  return label.trim() || (element?.localName ?? '');
}

/** The text of an element with all of its shadows. */
function textOf(root) {
  let text = '';
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.currentNode; node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) text += `${node.nodeValue}\n`;
    else if (node.shadowRoot) text += textOf(node.shadowRoot);
  }
  return text;
}

function readClock(element) {
  const [width, height] = [element.videoWidth, element.videoHeight];
  const rows = globalThis.pictureClock.clockRows(height);
  if (canvas.width !== width || canvas.height !== rows) [canvas.width, canvas.height] = [width, rows];
  context.drawImage(element, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, rows);
  // Full-range green back to video luma.
  return globalThis.pictureClock.read((x, y) => 16 + (219 * data[4 * (y * width + x) + 1]) / 255, width, height);
}

function follow(element) {
  const note = (_, { mediaTime }) => {
    const date = reported();
    const position = date === null ? null : date - (element.currentTime - mediaTime) * 1000;
    pictures.push({ wall: wall(), clock: readClock(element), media: mediaTime, position, height: element.videoHeight });
    if (pictures.length > MOST_PICTURES) pictures.shift();
    element.requestVideoFrameCallback(note);
  };
  element.requestVideoFrameCallback(note);
  element.addEventListener('waiting', () => element.seeking || stalls.push({ wall: wall(), media: element.currentTime }));
}

function listenToTheRoom() {
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    const frame = typeof data === 'string' ? JSON.parse(data) : null;
    if (frame?.type === 'say') said.push({ wall: wall(), clock: clockNow(), playing: frame.playing, body: frame.body });
    return send.call(this, data);
  };
}

/** The player may replace its video; each is followed once. */
function lookForVideos() {
  const known = new WeakSet();
  setInterval(() => {
    const element = document.body && video();
    if (!element || known.has(element)) return;
    known.add(element);
    follow(element);
  }, 50);
}

export function start() {
  listenToTheRoom();
  lookForVideos();
}
