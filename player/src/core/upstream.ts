/** What a publisher sends, from two readings of its statistics. */

/** The totals of one reading of `RTCPeerConnection.getStats()`. */
export interface Reading {
  atMs: number;
  bytes: number;
  framesPerSecond: number | null;
  width: number | null;
  height: number | null;
  roundTripS: number | null;
  packetsSent: number;
  packetsLost: number;
  /** Why the browser sends less than it could: bandwidth, cpu. */
  limitedBy: string | null;
}

export interface Upstream {
  kbps: number;
  fps: number | null;
  width: number | null;
  height: number | null;
  roundTripMs: number | null;
  /** Of the packets sent between the readings. */
  lossPercent: number;
  limitedBy: 'bandwidth' | 'cpu' | null;
}

type Stat = Record<string, unknown>;

export function reading(atMs: number, stats: Iterable<Stat>): Reading {
  const read: Reading = { atMs, bytes: 0, framesPerSecond: null, width: null, height: null, roundTripS: null, packetsSent: 0, packetsLost: 0, limitedBy: null };
  for (const stat of stats) {
    if (stat.type === 'outbound-rtp') outbound(read, stat);
    if (stat.type === 'remote-inbound-rtp') {
      read.packetsLost += number(stat.packetsLost) ?? 0;
      read.roundTripS = number(stat.roundTripTime) ?? read.roundTripS;
    }
  }
  return read;
}

function outbound(read: Reading, stat: Stat): void {
  read.bytes += number(stat.bytesSent) ?? 0;
  read.packetsSent += number(stat.packetsSent) ?? 0;
  if (stat.kind !== 'video') return;
  read.framesPerSecond = number(stat.framesPerSecond);
  read.width = number(stat.frameWidth);
  read.height = number(stat.frameHeight);
  read.limitedBy = typeof stat.qualityLimitationReason === 'string' ? stat.qualityLimitationReason : null;
}

export function upstream(before: Reading, now: Reading): Upstream {
  const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
  const packets = now.packetsSent - before.packetsSent;
  const lost = Math.max(0, now.packetsLost - before.packetsLost);
  return {
    kbps: Math.max(0, ((now.bytes - before.bytes) * 8) / 1000 / seconds),
    fps: now.framesPerSecond,
    width: now.width,
    height: now.height,
    roundTripMs: now.roundTripS === null ? null : now.roundTripS * 1000,
    lossPercent: packets > 0 ? Math.min(100, (lost / packets) * 100) : 0,
    limitedBy: now.limitedBy === 'bandwidth' || now.limitedBy === 'cpu' ? now.limitedBy : null,
  };
}

const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
