"""A lecture from FFmpeg's whip muxer, in the form of PyAV's libraries: H.264 and Opus, as `ffmpeg -f whip` sends them.
Usage: ffmpeg_publisher.py OPTIONS-AS-JSON. Options: "url", "token", "width", "height", "encoder" (options for x264),
"certificate": false for the one that it makes itself. Runs until SIGTERM; then DELETE. One JSON line per event."""

import datetime
import json
import os
import signal
import sys
import tempfile
import time
from fractions import Fraction

import av
import av.logging
import lecture
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

AUDIO_SAMPLES = lecture.SAMPLE_RATE // 50
ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "bf": "0", "g": "60", "x264-params": "sliced-threads=0"}


def main(url, token, width=640, height=360, encoder=None, certificate=True):
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    with tempfile.TemporaryDirectory() as folder:
        options = {"authorization": token, **(_certificate(folder) if certificate else {})}
        with av.logging.Capture(local=False) as log:
            try:
                out = av.open(url, "w", format="whip", options=options)
                video, audio = _video(out, width, height, encoder), _audio(out)
                # Here it is that the muxer asks, connects and shakes hands.
                out.start_encoding()
            except (av.error.FFmpegError, OSError) as error:
                _tell(log)
                _say("answer", status=0, body=str(error))
                os._exit(2)
            _say("answer", status=201)
            _publish(out, video, audio, width, height, stopping)
            out.close()
            _tell(log)
            disposed = any("Dispose resource" in text and "ok" in text for _, _, text in log)
            _say("deleted", status=200 if disposed else 0)


def _publish(out, video, audio, width, height, stopping):
    start, pictures, sounds = time.time(), 0, 0
    _say("sending", first=int(start * 1000))
    while not stopping:
        now = time.time() - start
        while pictures / lecture.RATE <= now:
            at = (start + pictures / lecture.RATE) * 1000
            frame = av.VideoFrame.from_ndarray(lecture.picture(width, height, at), format="yuv420p")
            frame.pts, frame.time_base = pictures, Fraction(1, lecture.RATE)
            out.mux(video.encode(frame))
            pictures += 1
        while (sounds + 1) / 50 <= now:
            samples = lecture.sound(start * 1000 + sounds * 20, AUDIO_SAMPLES).repeat(2).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = lecture.SAMPLE_RATE, sounds * AUDIO_SAMPLES, Fraction(1, lecture.SAMPLE_RATE)
            out.mux(audio.encode(frame))
            sounds += 1
        time.sleep(0.004)


def _video(out, width, height, encoder):
    stream = out.add_stream("libx264", rate=lecture.RATE)
    stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 1_500_000
    stream.codec_context.thread_count = 1
    stream.options = {**ENCODER, **(encoder or {})}
    return stream


def _audio(out):
    stream = out.add_stream("libopus", rate=lecture.SAMPLE_RATE)
    stream.layout = "stereo"
    return stream


def _certificate(folder):
    """P-256, as docs/publishing tells to make one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "WebRTC")])
    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    files = {"cert_file": f"{folder}/cert.pem", "key_file": f"{folder}/key.pem"}
    with open(files["cert_file"], "wb") as file:
        file.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    with open(files["key_file"], "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    return files


def _tell(log):
    for level, name, text in log:
        print(level, name, text.rstrip(), file=sys.stderr)


def _say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


main(**json.loads(sys.argv[1]))
