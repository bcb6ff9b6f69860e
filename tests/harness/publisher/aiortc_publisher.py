"""A lecture from aiortc: all candidates in the offer. Usage: aiortc_publisher.py OPTIONS-AS-JSON
Options: "url", "token", "width", "height", "video" (VP8, H264) and "audio" (opus, PCMU, PCMA, G722).
Runs until SIGTERM; then DELETE. One JSON line per event."""

import asyncio
import json
import signal
import sys
import time
from fractions import Fraction
from urllib.parse import urljoin

import aiohttp
import av
import lecture
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

AUDIO_SAMPLES = lecture.SAMPLE_RATE // 50


class Picture(MediaStreamTrack):
    kind = "video"

    def __init__(self, width, height):
        super().__init__()
        self._size, self._start, self._n = (width, height), None, 0

    async def recv(self):
        self._start = self._start or time.time()
        ms = await _at(self._start + self._n / lecture.RATE)
        frame = av.VideoFrame.from_ndarray(lecture.picture(*self._size, ms), format="yuv420p")
        frame.pts, frame.time_base = self._n * 90_000 // lecture.RATE, Fraction(1, 90_000)
        self._n += 1
        return frame


class Sound(MediaStreamTrack):
    kind = "audio"

    def __init__(self):
        super().__init__()
        self._start, self._n = None, 0

    async def recv(self):
        self._start = self._start or time.time()
        ms = await _at(self._start + self._n / 50)
        samples = lecture.sound(ms, AUDIO_SAMPLES).repeat(2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = lecture.SAMPLE_RATE, self._n * AUDIO_SAMPLES
        frame.time_base = Fraction(1, lecture.SAMPLE_RATE)
        self._n += 1
        return frame


async def _at(moment):
    """Waits for the moment (seconds) and gives it in milliseconds."""
    await asyncio.sleep(max(0, moment - time.time()))
    return moment * 1000


def _say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


async def main(url, token, width=640, height=360, video="VP8", audio="opus"):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = RTCPeerConnection()

    def changed():
        _say("state", state=connection.connectionState)
        if connection.connectionState == "connected":
            _say("sending")

    connection.on("connectionstatechange", changed)
    for track, codec in ((Picture(width, height), video), (Sound(), audio)):
        transceiver = connection.addTransceiver(track, direction="sendonly")
        wanted = (f"{track.kind}/{codec}", f"{track.kind}/rtx")
        codecs = RTCRtpSender.getCapabilities(track.kind).codecs
        transceiver.setCodecPreferences([c for c in codecs if c.mimeType in wanted])
    await connection.setLocalDescription(await connection.createOffer())
    bearer = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=bearer) as http:
        sdp = {"data": connection.localDescription.sdp, "headers": {"Content-Type": "application/sdp"}}
        async with http.post(url, **sdp) as response:
            answer, status = await response.text(), response.status
            _say("answer", status=status, body=None if status == 201 else answer)
        if status != 201:
            sys.exit(2)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await stop.wait()
        await connection.close()
        async with http.delete(urljoin(url, response.headers["Location"])) as response:
            _say("deleted", status=response.status)


asyncio.run(main(**json.loads(sys.argv[1])))
