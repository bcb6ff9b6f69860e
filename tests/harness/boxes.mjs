/** What a CMAF file says about time: the few ISO BMFF boxes (ISO/IEC 14496-12) that place samples on the line. */

/** @typedef {{ track: number, start: number, duration: number, samples: number }} Fragment in ticks of the track's timescale */

/** @param {Buffer} init @returns {number} ticks per second of the first track */
export function timescale(init) {
  const mdhd = find(init, ['moov', 'trak', 'mdia', 'mdhd'])[0];
  return mdhd.readUInt32BE(mdhd[0] === 1 ? 20 : 12);
}

/** The movie fragments of a segment or part, in order. @param {Buffer} bytes @returns {Fragment[]} */
export function fragments(bytes) {
  return find(bytes, ['moof', 'traf']).map((traf) => {
    const { track, sampleDuration } = header(child(traf, 'tfhd'));
    const runs = find(traf, ['trun']).map((trun) => run(trun, sampleDuration));
    const sum = (field) => runs.reduce((total, each) => total + each[field], 0);
    return { track, start: decodeTime(child(traf, 'tfdt')), duration: sum('duration'), samples: sum('samples') };
  });
}

/** tfdt (§8.8.12) */
const decodeTime = (tfdt) => (tfdt[0] === 1 ? Number(tfdt.readBigUInt64BE(4)) : tfdt.readUInt32BE(4));

/** tfhd (§8.8.7): which optional fields precede the default sample duration. */
function header(tfhd) {
  const flags = tfhd.readUInt32BE(0) & 0xff_ffff;
  const at = 8 + (flags & 0x1 ? 8 : 0) + (flags & 0x2 ? 4 : 0);
  return { track: tfhd.readUInt32BE(4), sampleDuration: flags & 0x8 ? tfhd.readUInt32BE(at) : 0 };
}

/** trun (§8.8.8) */
function run(trun, sampleDuration) {
  const flags = trun.readUInt32BE(0) & 0xff_ffff;
  const samples = trun.readUInt32BE(4);
  if (!(flags & 0x100)) return { samples, duration: samples * sampleDuration };
  const first = 8 + (flags & 0x1 ? 4 : 0) + (flags & 0x4 ? 4 : 0);
  const size = 4 * [0x100, 0x200, 0x400, 0x800].filter((flag) => flags & flag).length;
  let duration = 0;
  for (let i = 0; i < samples; i++) duration += trun.readUInt32BE(first + i * size);
  return { samples, duration };
}

const child = (bytes, type) => find(bytes, [type])[0];

/** The payloads of every box at the end of `path`. @returns {Buffer[]} */
function find(bytes, [type, ...rest]) {
  const here = [...boxes(bytes)].filter((box) => box.type === type).map((box) => box.payload);
  return rest.length ? here.flatMap((payload) => find(payload, rest)) : here;
}

function* boxes(bytes) {
  for (let at = 0; at + 8 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    if (size < 8 || at + size > bytes.length) throw new Error(`a box of ${size} bytes at ${at} of ${bytes.length}`);
    yield { type: bytes.toString('latin1', at + 4, at + 8), payload: bytes.subarray(at + 8, at + size) };
    at += size;
  }
}
