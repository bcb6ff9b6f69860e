"""Encodes a lecture a little ahead of its time, for publishers that send but do not encode.
Usage: record.py OPTIONS-AS-JSON

Options: "first" Unix ms of the first picture; "seconds" (endless without); "video": a list of layers, each with "codec" (H264, VP8,
VP9, AV1; raw: I420), "width", "height", "kbps" and "encoder", options for it; "audio": opus, raw (s16, mono), or false for none.

Writes records: kind (b'0' … b'9' a layer of the video, b'a' the audio), microseconds after "first" when it is decoded and when it is
presented (int64 each), length (uint32), one access unit (H.264: Annex B), picture, temporal unit, Opus packet or 20 ms of sound."""

import json
import struct
import sys
import time
from fractions import Fraction

import av
import lecture

OPUS_SAMPLES = lecture.SAMPLE_RATE // 50
# So far ahead of its moment, a picture is made: the machine may be busy for that long.
AHEAD_S = 3
# What OBS chooses by itself: "auto" is 250 pictures for x264.
GOP = 250
ENCODERS = {
    "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "high", "bf": "0", "x264-params": "repeat-headers=1:scenecut=0:sliced-threads=0"}),
    "VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "16", "lag-in-frames": "0", "auto-alt-ref": "0"}),
    "VP9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    # Low delay (no pictures that are hidden and shown later), as OBS sets it for WHIP.
    "AV1": ("libsvtav1", {"preset": "12", "svtav1-params": "rc=2:pred-struct=1:lp=1"}),
}


def main(options, out):
    first, seconds = options["first"], options.get("seconds", float("inf"))
    layers = [RawLayer(n, **layer) if layer["codec"] == "raw" else Layer(n, **layer) for n, layer in enumerate(options.get("video", []))]
    audio = options.get("audio", "opus")
    sound = Sound(audio) if audio else None
    n = 0
    while n < seconds * lecture.RATE:
        at = first + n * 1000 / lecture.RATE
        time.sleep(max(0, at / 1000 - AHEAD_S - time.time()))
        records = [record for layer in layers for record in layer.encode(at, n)]
        n += 1
        records += sound.until(first, n / lecture.RATE) if sound else []
        for kind, dts, pts, payload in records:
            out.write(struct.pack(">cqqI", kind, dts, pts, len(payload)) + payload)
        out.flush()
    for layer in layers:
        layer.close()


class Layer:
    def __init__(self, index, codec="H264", width=640, height=360, kbps=1500, encoder=None):
        name, options = ENCODERS[codec]
        self._kind, self._size = str(index).encode(), (width, height)
        self._encoder = av.CodecContext.create(name, "w")
        self._encoder.width, self._encoder.height, self._encoder.pix_fmt = width, height, "yuv420p"
        self._encoder.time_base, self._encoder.framerate = Fraction(1, lecture.RATE), lecture.RATE
        self._encoder.bit_rate, self._encoder.thread_count = kbps * 1000, 1
        self._encoder.options = {"g": str(GOP), **options, **(encoder or {})}

    def encode(self, at, n):
        frame = av.VideoFrame.from_ndarray(lecture.picture(*self._size, at), format="yuv420p")
        frame.pts = n
        return [(self._kind, _us(p.dts), _us(p.pts), bytes(p)) for p in self._encoder.encode(frame)]

    def close(self):
        self._encoder.encode(None)


class RawLayer:
    def __init__(self, index, codec, width=640, height=360):
        self._kind, self._size = str(index).encode(), (width, height)

    def encode(self, at, n):
        return [(self._kind, _us(n), _us(n), lecture.picture(*self._size, at).tobytes())]

    def close(self):
        pass


def _us(pictures):
    return pictures * 1_000_000 // lecture.RATE


class Sound:
    def __init__(self, codec):
        self._raw = codec == "raw"
        self._encoder = av.CodecContext.create("libopus", "w")
        self._encoder.sample_rate, self._encoder.layout, self._encoder.format = lecture.SAMPLE_RATE, "mono", "s16"
        self._encoder.bit_rate = 64_000
        self._n = 0

    def until(self, first, seconds):
        packets = []
        while self._n < seconds * 50:
            samples = lecture.sound(first + self._n * 20, OPUS_SAMPLES).reshape(1, -1)
            if self._raw:
                packets.append((self._n * 20_000, samples.tobytes()))
                self._n += 1
                continue
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = lecture.SAMPLE_RATE, self._n * OPUS_SAMPLES
            packets += [(p.pts * 1_000_000 // lecture.SAMPLE_RATE, bytes(p)) for p in self._encoder.encode(frame)]
            self._n += 1
        # Opus looks ahead: its first packet begins before zero, and is that much early.
        return [(b"a", us, us, payload) for us, payload in packets if us >= 0]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.stdout.buffer)
