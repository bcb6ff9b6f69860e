/**
 * The picture clock (docs: 48 bits of Unix milliseconds and 8 bits of checksum, as two rows of 28 black and white
 * blocks over the top 8 % of the picture). No imports: the same file runs in Node and inside pages.
 */
const COLUMNS = 28;
const CLOCK_HEIGHT = 0.08;
const TIME_BITS = 48;

/** A second's flash: a white block in the left quarter at 30–50 % of the height, for a frame and a half. */
const FLASH_MS = 50;

/** @param {number} ms Unix milliseconds @returns {number[]} 56 bits */
export function bits(ms) {
  const time = BigInt(Math.round(ms));
  const out = [];
  for (let i = TIME_BITS - 1; i >= 0; i--) out.push(Number((time >> BigInt(i)) & 1n));
  const sum = checksum(time);
  for (let i = 7; i >= 0; i--) out.push((sum >> i) & 1);
  return out;
}

/**
 * Draws a picture's clock and, in the first frames of a second, its flash.
 * @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {number} ms
 */
export function draw(context, width, height, ms) {
  const rowHeight = Math.floor(height * CLOCK_HEIGHT) >> 1;
  bits(ms).forEach((bit, i) => {
    const [row, column] = [Math.floor(i / COLUMNS), i % COLUMNS];
    const left = Math.floor((width * column) / COLUMNS);
    const right = Math.floor((width * (column + 1)) / COLUMNS);
    context.fillStyle = bit ? '#fff' : '#000';
    context.fillRect(left, row * rowHeight, right - left, rowHeight);
  });
  context.fillStyle = ms % 1000 < FLASH_MS ? '#fff' : '#000';
  context.fillRect(0, height * 0.3, width / 4, height * 0.2);
}

/**
 * Reads the clock from the top of a picture. `luma` gives the luma (16 black … 235 white) of a pixel.
 * @param {(x: number, y: number) => number} luma @param {number} width @param {number} height of the whole picture
 * @returns {number | null} Unix milliseconds; null where the picture cannot be read
 */
export function read(luma, width, height) {
  const rowHeight = (height * CLOCK_HEIGHT) / 2;
  let time = 0n;
  let sum = 0;
  for (let i = 0; i < TIME_BITS + 8; i++) {
    const bit = readBlock(luma, width, rowHeight, Math.floor(i / COLUMNS), i % COLUMNS);
    if (bit === null) return null;
    if (i < TIME_BITS) time = (time << 1n) | BigInt(bit);
    else sum = (sum << 1) | bit;
  }
  // All black passes the checksum and is no clock.
  return time > 0n && checksum(time) === sum ? Number(time) : null;
}

/** Pixels of the picture's top that `read` looks at. @param {number} height */
export const clockRows = (height) => Math.ceil(height * CLOCK_HEIGHT) + 1;

/** The mean of the middle 40 % of a block; in between is neither. */
function readBlock(luma, width, rowHeight, row, column) {
  const [top, bottom] = [Math.floor((row + 0.3) * rowHeight), Math.floor((row + 0.7) * rowHeight) + 1];
  const left = Math.floor((width * (column + 0.3)) / COLUMNS);
  const right = Math.floor((width * (column + 0.7)) / COLUMNS) + 1;
  let [total, count] = [0, 0];
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) [total, count] = [total + luma(x, y), count + 1];
  const mean = total / count;
  if (mean > 90 && mean < 160) return null;
  return mean > 125 ? 1 : 0;
}

/** Blind to the highest bit of even bytes (128 × an even position is 0 modulo 256); errors come in more than one. @param {bigint} time */
function checksum(time) {
  let sum = 0;
  for (let i = 0; i < 6; i++) sum += Number((time >> BigInt(8 * i)) & 255n) * (i + 1);
  return sum & 255;
}
