"""Decodes media and tells what it shows. Usage: probe.py FILE-OR-URL [SECONDS [LEFT,TOP,WIDTH,HEIGHT]]
One JSON object: "pictures": [{at, clock, flash}], "beeps": [at]; `at` is the presentation time in milliseconds, `clock` what the
picture clock says (null: unreadable). Keyframes' times are under "keyframes"."""

import json
import sys

import av
import numpy as np

COLUMNS, CLOCK_HEIGHT = 28, 0.08
# Of the loudest there is: codecs smear a little before a beep. What is no louder than noise is silence.
BEEP_SHARE, NOISE = 0.3, 0.03
# Beeps are a second apart and 60 ms long.
SILENCE_MS = 500


def main(source, seconds="inf", place=None):
    place = [int(side) for side in place.split(",")] if place else None
    found = {"pictures": [], "beeps": [], "keyframes": []}
    with av.open(source) as container:
        streams = [s for s in (next(iter(container.streams.video), None), next(iter(container.streams.audio), None)) if s]
        blocks, first = [], None
        for frame in container.decode(*streams):
            at = float(frame.pts * frame.time_base) * 1000
            first = at if first is None else first
            if at - first > float(seconds) * 1000:
                break
            if isinstance(frame, av.VideoFrame):
                found["pictures"].append(_picture(frame, at, place))
                if frame.key_frame:
                    found["keyframes"].append(at)
            else:
                blocks.append((at, frame.sample_rate, _loudness(frame)))
    found["beeps"] = _beeps(blocks)
    print(json.dumps(found))


def _picture(frame, at, place):
    left, top, width, height = place or (0, 0, frame.width, frame.height)
    luma = frame.to_ndarray(format="yuv420p")[top : top + height, left : left + width]
    flash = luma[int(height * 0.35) : int(height * 0.45), int(width * 0.05) : int(width * 0.2)]
    return {"at": at, "clock": _clock(luma), "flash": bool(flash.mean() > 125)}


def _clock(luma):
    height, width = luma.shape
    row, out = height * CLOCK_HEIGHT / 2, []
    for i in range(56):
        r, c = divmod(i, COLUMNS)
        y0, y1 = int((r + 0.3) * row), int((r + 0.7) * row) + 1
        x0, x1 = int(width * (c + 0.3) / COLUMNS), int(width * (c + 0.7) / COLUMNS) + 1
        mean = luma[y0:y1, x0:x1].mean()
        if 90 < mean < 160:
            return None
        out.append(1 if mean > 125 else 0)
    ms, checksum = (int("".join(map(str, bits)), 2) for bits in (out[:48], out[48:]))
    # All black passes the checksum and is no clock.
    return ms if ms and sum(((ms >> (8 * i)) & 255) * (i + 1) for i in range(6)) & 255 == checksum else None


def _loudness(frame):
    samples = frame.to_ndarray()
    if samples.dtype.kind == "i":
        samples = samples / np.iinfo(samples.dtype).max
    return np.abs(samples).max(axis=0) if frame.format.is_planar else np.abs(samples.reshape(-1, frame.layout.nb_channels)).max(axis=1)


def _beeps(blocks):
    level = max((block.max() for _, _, block in blocks), default=0) * BEEP_SHARE
    beeps, last_loud = [], -1e12
    for at, rate, block in blocks:
        for i in np.flatnonzero(block > max(level, NOISE)):
            loud = at + i * 1000 / rate
            if loud - last_loud > SILENCE_MS:
                beeps.append(loud)
            last_loud = loud
    return beeps


main(*sys.argv[1:])
