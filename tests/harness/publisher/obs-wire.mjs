/**
 * Video as OBS 32.1 puts it on the wire: several layers on one track, told apart by the rid in a header extension, H.264 of which
 * each NAL unit has packets of its own; a sender report before there is any media says RTP 0xFFFFFFFF.
 */
const PAYLOAD_TYPE = 96;
const PACKET_BYTES = 1200;
const [MID_ID, RID_ID] = [1, 2];
const MID = '1';
const [SINGLE_FU_A, START, END, MARKER] = [28, 0x80, 0x40, 0x80];
const NO_TIME_YET = 0xffff_ffff;
/** Seconds from 1900 to 1970. */
const NTP_EPOCH = 2_208_988_800;
const REPORT_MS = 1000;

/** Lines of the offer's video section. @param {number} layers */
export function attributes(layers) {
  const rids = Array.from({ length: layers }, (_, rid) => rid);
  const extensions = [`a=extmap:${MID_ID} urn:ietf:params:rtp-hdrext:sdes:mid`, `a=extmap:${RID_ID} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`];
  return layers > 1 ? [...extensions, ...rids.map((rid) => `a=rid:${rid} send`), `a=simulcast:send ${rids.join(';')}`] : extensions;
}

export class Layer {
  #sequence = Math.floor(Math.random() * 0x1_0000);
  #reported = 0;
  #packets = 0;
  #bytes = 0;

  /**
   * @param {{sendMessageBinary: (packet: Buffer) => boolean}} track @param {number} ssrc
   * @param {{rid?: string, reports?: boolean, firstLost?: number}} options `firstLost`: so many packets never leave
   */
  constructor(track, ssrc, { rid, reports = true, firstLost = 0 }) {
    Object.assign(this, { track, ssrc, rid, reports, firstLost });
    if (reports) this.#report(NO_TIME_YET);
  }

  /** @param {Buffer} unit an access unit, Annex B @param {number} timestamp RTP */
  send(unit, timestamp) {
    const nals = split(unit);
    nals.forEach((nal, n) => this.#nal(nal, timestamp, n === nals.length - 1));
    if (this.reports && Date.now() - this.#reported >= REPORT_MS) this.#report(timestamp);
  }

  /** RFC 6184 §5.6 and §5.8. */
  #nal(nal, timestamp, last) {
    if (nal.length <= PACKET_BYTES) return this.#packet(nal, timestamp, last);
    for (let at = 1; at < nal.length; at += PACKET_BYTES) {
      const [start, end] = [at === 1, at + PACKET_BYTES >= nal.length];
      const header = [(nal[0] & 0x60) | SINGLE_FU_A, (start ? START : 0) | (end ? END : 0) | (nal[0] & 31)];
      this.#packet(Buffer.concat([Buffer.from(header), nal.subarray(at, at + PACKET_BYTES)]), timestamp, last && end);
    }
  }

  #packet(payload, timestamp, marker) {
    const header = Buffer.alloc(12);
    header[0] = 0x90;
    header[1] = PAYLOAD_TYPE | (marker ? MARKER : 0);
    header.writeUInt16BE(this.#sequence, 2);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    header.writeUInt32BE(timestamp >>> 0, 4);
    header.writeUInt32BE(this.ssrc, 8);
    if (this.firstLost-- > 0) return;
    this.#packets++;
    this.#bytes += payload.length;
    this.track.sendMessageBinary(Buffer.concat([header, this.#extensions(), payload]));
  }

  /** RFC 8285 §4.2, one byte each. */
  #extensions() {
    const elements = [MID_ID << 4, MID.charCodeAt(0), ...(this.rid === undefined ? [] : [RID_ID << 4, this.rid.charCodeAt(0)])];
    while (elements.length % 4) elements.push(0);
    return Buffer.from([0xbe, 0xde, 0, elements.length / 4, ...elements]);
  }

  /** RFC 3550 §6.4.1; the time of a report is the time of its sending. @param {number} timestamp of the packet before it */
  #report(timestamp) {
    const report = Buffer.alloc(28);
    const now = Date.now() / 1000;
    report.writeUInt32BE(0x80c8_0006, 0);
    report.writeUInt32BE(this.ssrc, 4);
    report.writeUInt32BE(Math.floor(now) + NTP_EPOCH, 8);
    report.writeUInt32BE(Math.floor((now % 1) * 2 ** 32), 12);
    report.writeUInt32BE(timestamp >>> 0, 16);
    report.writeUInt32BE(this.#packets, 20);
    report.writeUInt32BE(this.#bytes, 24);
    this.#reported = Date.now();
    this.track.sendMessageBinary(report);
  }
}

/** NAL units between start codes of three or four bytes. @param {Buffer} unit @returns {Buffer[]} */
export function split(unit) {
  const starts = [];
  for (let at = unit.indexOf('\0\0\x01'); at >= 0; at = unit.indexOf('\0\0\x01', at + 3)) starts.push(at);
  return starts.map((start, n) => {
    const end = starts[n + 1] ?? unit.length;
    return unit.subarray(start + 3, n + 1 < starts.length && unit[end - 1] === 0 ? end - 1 : end);
  });
}
