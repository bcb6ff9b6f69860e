/**
 * 1 kHz for 60 ms from each whole second of the clock, written sample by sample: a headless browser has no sound card, and
 * the clock that it pretends to have runs some percent slow. A worker, so that a page busy with painting does not hold it up.
 */
const SAMPLE_RATE = 48_000;
const BLOCK_MS = 10;
const BEEP_MS = 60;

/** `data`: where blocks are written, of a MediaStreamTrackGenerator. */
onmessage = ({ data }) => {
  const writer = data.getWriter();
  const start = performance.now();
  let blocks = 0;
  setInterval(() => {
    const past = Math.floor((performance.now() - start) / BLOCK_MS);
    for (; blocks < past; blocks++) writer.write(block(start + blocks * BLOCK_MS));
  }, BLOCK_MS);
};

/**
 * Its timestamp is when it was captured, by `performance.now()` of whoever writes it: that is what Chromium's sender reports
 * say of the sound. Counted from zero, the sound is as early as the page was old, with every receiver.
 * @param {number} captured its first sample, in ms since `performance.timeOrigin`
 */
function block(captured) {
  const data = new Float32Array((SAMPLE_RATE * BLOCK_MS) / 1000);
  const ms = performance.timeOrigin + captured;
  for (let i = 0; i < data.length; i++) {
    const within = (ms + (i * 1000) / SAMPLE_RATE) % 1000;
    data[i] = within < BEEP_MS ? Math.sin(2 * Math.PI * within) / 2 : 0;
  }
  const timestamp = Math.round(captured * 1000);
  return new AudioData({ format: 'f32', sampleRate: SAMPLE_RATE, numberOfFrames: data.length, numberOfChannels: 1, timestamp, data });
}
