"""Encodes a lecture ahead of its time, as OBS would encode it live: H.264 with a keyframe every 250 pictures and
Opus packets of 20 ms. Usage: record.py FILE FIRST_UNIX_MS SECONDS WIDTH HEIGHT

FILE: records of kind (b'v' or b'a'), microseconds after FIRST_UNIX_MS (int64), length (uint32), one access unit
(Annex B) or Opus packet; in order of time."""

import struct
import sys
from fractions import Fraction

import av
import lecture

OPUS_SAMPLES = lecture.SAMPLE_RATE // 50
# What OBS chooses by itself: "auto" is 250 pictures for x264.
GOP = 250


def main(path, first_ms, seconds, width, height):
    records = sorted(_video(first_ms, seconds, width, height) + _audio(first_ms, seconds))
    with open(path, "wb") as out:
        for at, kind, payload in records:
            out.write(struct.pack(">cqI", kind, at, len(payload)) + payload)


def _video(first_ms, seconds, width, height):
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, lecture.RATE), lecture.RATE, 1_500_000
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "high", "bf": "0", "g": str(GOP), "x264-params": "repeat-headers=1:scenecut=0:sliced-threads=0"}
    packets = []
    for n in range(seconds * lecture.RATE):
        planes = lecture.picture(width, height, first_ms + n * 1000 / lecture.RATE)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = n
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [(p.pts * 1_000_000 // lecture.RATE, b"v", bytes(p)) for p in packets]


def _audio(first_ms, seconds):
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = lecture.SAMPLE_RATE, "mono", "s16"
    encoder.bit_rate = 64_000
    packets = []
    for n in range(seconds * 50):
        samples = lecture.sound(first_ms + n * 20, OPUS_SAMPLES).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = lecture.SAMPLE_RATE, n * OPUS_SAMPLES
        packets += encoder.encode(frame)
    # Opus looks ahead: its first packet begins before zero, and is that much early.
    return [(p.pts * 1_000_000 // lecture.SAMPLE_RATE, b"a", bytes(p)) for p in packets if p.pts >= 0]


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
