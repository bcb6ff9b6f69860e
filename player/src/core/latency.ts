/**
 * Holds a viewer at the live edge: near enough to be live, far enough that no part comes too late.
 *
 * What the playlists list is an edge that moves in steps, and late by whatever the network did to that answer. The
 * edge here is a straight line: new media is there a constant time after it was captured, and the quickest of the
 * last answers shows when. Behind that line the viewer stays by the target: PART-HOLD-BACK, or more where parts are
 * seen to come late. All times are of one steady clock (`performance.now()`), all positions of the video's time line.
 */

/** What the playlist promises (draft-pantos-hls-rfc8216bis 4.4.3.8). */
export interface HoldBack {
  /** PART-HOLD-BACK. */
  partsS: number;
  /** HOLD-BACK: who must stay further back than this is better served by whole segments. */
  segmentsS: number;
}

export interface Position {
  timeS: number;
  /** Stretches of media that can be played, in order. */
  buffered: readonly Stretch[];
}

export interface Stretch {
  startS: number;
  endS: number;
}

export interface Steering {
  /** The playback rate to set. */
  rate: number;
  /** Where to jump, if one should. */
  seekS: number | null;
}

/** How long a quick answer, or a late part, is remembered: longer than bursts are apart, shorter than a viewer's patience. */
const MEMORY_MS = 20_000;
/** Parts that come within this of a later one are late for the same reason. */
const ECHO_MS = 2_000;
/** After a jump media comes in a hurry, up to the edge or for this long; that says nothing of how late parts are. */
const SETTLE_MS = 15_000;
/** Left in the buffer when the latest part arrives: a few pictures, and what timers and decoders need. */
const RESERVE_S = 0.15;
/** For each time the picture stood still, until it is forgotten: one part of the usual grid. */
const STALL_S = 0.2;
const MOST_STALLS_S = 1;
/** A target that was raised comes back slower than anybody catches up; from far away quicker than the last bit. */
const RELAX = { share: 0.03, leastS: 0.02, mostS: 0.06 };
/** Stalls are forgotten by two seconds in a hundred. */
const FORGIVE_S_PER_S = 0.02;

/** Speech at these rates, with its pitch kept, sounds as always. */
const SLOWEST = 0.95;
const FASTEST = 1.08;
/** A difference of two fifths of a second is worth all of it. */
const GAIN_PER_S = 0.2;
/** Rates that differ by less are the same. */
const RATE_STEP = 0.01;
/** Nothing is done before the difference is this, and then until it is that. */
const DEADBAND_S = 0.1;
const REACHED_S = 0.02;
/** A second from one to the other end, so that nobody hears it begin. */
const SLEW_PER_S = 0.1;

/** Catching up by playing faster takes twenty seconds for this; who is later jumps. */
const TOO_LATE_S = 1.5;
/** Over media that is there a jump costs a picture or two; where none is, the viewer waits once more. */
const PATIENCE_MS = { buffered: 500, unbuffered: 2_000 };
/** Media is loaded from the beginning of a segment: what lies nearer comes sooner without a jump. */
const WORTH_A_JUMP_S = 5;
/** A jump has to show what it brought before the next one. */
const REST_MS = 5_000;
/** A hole is passed when the media before it is used up to here. */
const USED_UP_S = 0.1;
/** Of the media that should be ahead where a jump goes, this much has to be there. */
const LANDING = 0.5;
/** A jump goes not to the very brim of what is buffered. */
const ONTO_S = 0.01;
/** Playlist and media agree so far on where a part ends. */
const SAME_S = 0.1;

interface Moment {
  atMs: number;
  valueS: number;
}

export class LatencyController {
  #holdBack: HoldBack = { partsS: 3, segmentsS: 9 };
  /** Clock less edge: the smallest is the true one. */
  #offsets: Moment[] = [];
  /** How far the media there was behind the line when more of it came. */
  #shortfalls: Moment[] = [];
  #listedS = -Infinity;
  #bufferedS: number | null = null;
  #settling: { sinceMs: number | null } | null = { sinceMs: null };
  #stalls = { sumS: 0, lastMs: -Infinity };
  #targetS = 0;
  #targetAtMs = 0;
  #rate = 1;
  /** 1 while it catches up, −1 while it falls back. */
  #correcting = 0;
  #steeredAtMs: number | null = null;
  #lateSinceMs: number | null = null;
  #heldSinceMs: number | null = null;
  #jumpedAtMs = -Infinity;

  /** A playlist came that lists media up to here. `atMs`: of its first byte. */
  listed(atMs: number, edgeS: number, holdBack: HoldBack): void {
    this.#holdBack = holdBack;
    this.#listedS = edgeS;
    remember(this.#offsets, atMs, atMs / 1000 - edgeS);
  }

  /** Media can be played up to here now. */
  buffered(nowMs: number, endS: number): void {
    const before = this.#bufferedS;
    this.#bufferedS = endS;
    const edgeS = this.edgeAt(nowMs);
    if (before === null || endS <= before || edgeS === null) return;
    if (this.#settled(nowMs, endS)) remember(this.#shortfalls, nowMs, edgeS - before);
  }

  #settled(nowMs: number, endS: number): boolean {
    const was = this.#settling;
    if (was === null) return true;
    was.sinceMs ??= nowMs;
    if (endS >= this.#listedS - SAME_S || nowMs - was.sinceMs > SETTLE_MS) this.#settling = null;
    return false;
  }

  /** What is buffered from now on follows from nothing before: after a jump, a switch, a pause. */
  interrupted(): void {
    this.#bufferedS = null;
    this.#settling = { sinceMs: null };
  }

  /** The picture stood still for want of media. */
  stalled(nowMs: number): void {
    if (this.#settling) return;
    this.#stalls = { sumS: Math.min(MOST_STALLS_S, this.#stallsAt(nowMs) + STALL_S), lastMs: nowMs };
  }

  /** Where the live edge is, listed already or not. */
  edgeAt(nowMs: number): number | null {
    const least = smallest(this.#offsets);
    return least === null ? null : nowMs / 1000 - least;
  }

  latencyAt(nowMs: number, timeS: number): number | null {
    const edgeS = this.edgeAt(nowMs);
    return edgeS === null ? null : edgeS - timeS;
  }

  /** How far behind the edge to be: more at once when parts come late, less slowly when they no longer do. */
  targetAt(nowMs: number): number {
    const { partsS, segmentsS } = this.#holdBack;
    const needS = Math.min(Math.max(partsS, segmentsS), Math.max(partsS, this.#lateness(nowMs) + RESERVE_S) + this.#stallsAt(nowMs));
    const relaxS = Math.min(RELAX.mostS, Math.max(RELAX.leastS, RELAX.share * (this.#targetS - needS)));
    const elapsedS = Math.max(0, nowMs - this.#targetAtMs) / 1000;
    this.#targetS = Math.max(needS, this.#targetS - relaxS * elapsedS);
    this.#targetAtMs = nowMs;
    return this.#targetS;
  }

  /** Where somebody at the live edge should be: at its target behind the line, yet not where there is nothing yet. */
  livePositionAt(nowMs: number): number | null {
    const edgeS = this.edgeAt(nowMs);
    return edgeS === null ? null : Math.min(edgeS - this.targetAt(nowMs), this.#listedS);
  }

  /** To be asked some times a second. Not `steering`: the viewer has paused, rewound, looks elsewhere. */
  steer(nowMs: number, { timeS, buffered }: Position, steering: boolean): Steering {
    const elapsedS = Math.min(1, Math.max(0, nowMs - (this.#steeredAtMs ?? nowMs)) / 1000);
    this.#steeredAtMs = nowMs;
    const latencyS = this.latencyAt(nowMs, timeS);
    if (!steering || latencyS === null) return this.#rest();
    const errorS = latencyS - this.targetAt(nowMs);
    const seekS = this.#jump(nowMs, { timeS, buffered }, errorS);
    if (seekS !== null) {
      this.#rest();
      this.#jumpedAtMs = nowMs;
      return { rate: 1, seekS };
    }
    this.#turn(this.#wanted(errorS, aheadOf(timeS, buffered)), elapsedS);
    return { rate: Math.round(this.#rate / RATE_STEP) / Math.round(1 / RATE_STEP), seekS: null };
  }

  #rest(): Steering {
    this.#rate = 1;
    this.#correcting = 0;
    this.#lateSinceMs = this.#heldSinceMs = null;
    return { rate: 1, seekS: null };
  }

  /** The second latest part that was not late together with the latest: what happened once is not expected again. */
  #lateness(nowMs: number): number {
    forget(this.#shortfalls, nowMs);
    const latest = this.#shortfalls.reduce<Moment | null>((most, one) => (most === null || one.valueS > most.valueS ? one : most), null);
    if (latest === null) return 0;
    const others = this.#shortfalls.filter(({ atMs }) => Math.abs(atMs - latest.atMs) > ECHO_MS);
    return others.reduce((most, { valueS }) => Math.max(most, valueS), 0);
  }

  #stallsAt(nowMs: number): number {
    const { sumS, lastMs } = this.#stalls;
    return Math.max(0, sumS - (FORGIVE_S_PER_S * Math.max(0, nowMs - lastMs - MEMORY_MS)) / 1000);
  }

  #wanted(errorS: number, aheadS: number): number {
    const reached = this.#correcting === 0 ? Math.abs(errorS) < DEADBAND_S : this.#correcting * errorS < REACHED_S;
    this.#correcting = reached ? 0 : Math.sign(errorS);
    if (reached) return 1;
    const wanted = 1 + this.#correcting * Math.max(RATE_STEP, GAIN_PER_S * Math.abs(errorS));
    // Nobody hurries towards an empty buffer.
    return Math.min(aheadS < RESERVE_S ? 1 : FASTEST, Math.max(SLOWEST, wanted));
  }

  #turn(wanted: number, elapsedS: number): void {
    const most = SLEW_PER_S * elapsedS;
    this.#rate += Math.min(most, Math.max(-most, wanted - this.#rate));
  }

  #jump(nowMs: number, { timeS, buffered }: Position, errorS: number): number | null {
    if (nowMs - this.#jumpedAtMs < REST_MS) return null;
    return this.#overHole(nowMs, timeS, buffered) ?? this.#toTarget(nowMs, timeS, timeS + errorS, buffered, errorS);
  }

  /** What is missing from a live line will not come any more once there is something after it. */
  #overHole(nowMs: number, timeS: number, buffered: readonly Stretch[]): number | null {
    const next = buffered.find(({ startS }) => startS > timeS);
    if (!next || aheadOf(timeS, buffered) > USED_UP_S) {
      this.#heldSinceMs = null;
      return null;
    }
    this.#heldSinceMs ??= nowMs;
    return nowMs - this.#heldSinceMs >= PATIENCE_MS.buffered ? next.startS + ONTO_S : null;
  }

  #toTarget(nowMs: number, timeS: number, targetS: number, buffered: readonly Stretch[], errorS: number): number | null {
    if (errorS <= TOO_LATE_S || targetS > this.#listedS) {
      this.#lateSinceMs = null;
      return null;
    }
    this.#lateSinceMs ??= nowMs;
    const lateForMs = nowMs - this.#lateSinceMs;
    if (lateForMs < PATIENCE_MS.buffered) return null;
    const there = buffered.find(({ endS }) => endS - this.#targetS * LANDING > targetS);
    if (there) return Math.max(targetS, there.startS + ONTO_S);
    const missingS = targetS - (buffered.at(-1)?.endS ?? timeS);
    return lateForMs >= PATIENCE_MS.unbuffered && missingS > WORTH_A_JUMP_S ? targetS : null;
  }
}

const aheadOf = (timeS: number, buffered: readonly Stretch[]): number => {
  const here = buffered.find(({ startS, endS }) => startS <= timeS && timeS < endS);
  return here ? here.endS - timeS : 0;
};

function remember(moments: Moment[], atMs: number, valueS: number): void {
  moments.push({ atMs, valueS });
  forget(moments, atMs);
}

function forget(moments: Moment[], nowMs: number): void {
  while (moments.length > 1 && (moments[0] as Moment).atMs < nowMs - MEMORY_MS) moments.shift();
}

const smallest = (moments: readonly Moment[]): number | null =>
  moments.reduce<number | null>((least, { valueS }) => (least === null || valueS < least ? valueS : least), null);
