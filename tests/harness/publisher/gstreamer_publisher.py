"""A lecture from GStreamer: webrtcbin, with the WHIP of `whipsink` done by hand where that is not installed.
Usage: gstreamer_publisher.py OPTIONS-AS-JSON. Options: "url", "token", "width", "height", "codec" (H264, VP8, VP9), "element"
("webrtcbin" or "whipsink", which is gst-plugins-rs') and "recorder", the program that draws (python record.py). For Debian's own
Python, which has GStreamer. Runs until SIGTERM; then DELETE. One JSON line per event."""

import json
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

RATE = 30
HEADER = struct.Struct(">cqqI")
# What is older when the connection stands is not sent: it would come in a burst.
QUEUE = "queue leaky=downstream max-size-bytes=0 max-size-buffers=0 max-size-time=100000000"
ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=1500 key-int-max=60 threads=1 ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
    "VP8": "vp8enc deadline=1 cpu-used=16 target-bitrate=1500000 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=15-bit",
    "VP9": "vp9enc deadline=1 cpu-used=8 target-bitrate=1500000 keyframe-max-dist=60 lag-in-frames=0 ! rtpvp9pay picture-id-mode=15-bit",
}


class Publisher:
    def __init__(self, url, token, width=640, height=360, codec="H264", element="webrtcbin", recorder=()):
        self._url, self._token, self._size, self._recorder, self._location = url, token, (width, height), recorder, None
        self._loop, self._stopping = GLib.MainLoop(), threading.Event()
        sink = "webrtcbin name=out bundle-policy=max-bundle"
        if element == "whipsink":
            sink = f'whipsink name=out whip-endpoint="{url}" auth-token="{token}"'
        self._pipeline = Gst.parse_launch(f"""{sink}
            appsrc name=video format=time is-live=true caps=video/x-raw,format=I420,width={width},height={height},framerate={RATE}/1
              ! {QUEUE} ! {ENCODERS[codec]} ! application/x-rtp,media=video,encoding-name={codec},clock-rate=90000,payload=96 ! out.sink_0
            appsrc name=audio format=time is-live=true caps=audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved
              ! {QUEUE} ! opusenc ! rtpopuspay ! application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=111 ! out.sink_1""")
        self._out = self._pipeline.get_by_name("out")
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._failed)
        # Without it, sender reports are wrong: their RTP time runs ahead, by as long as the pipeline has run.
        bus.connect("message::latency", lambda *_: self._pipeline.recalculate_latency())
        if element == "webrtcbin":
            self._out.connect("on-negotiation-needed", self._negotiate)
            self._out.connect("notify::ice-gathering-state", self._gathered)
            self._out.connect("notify::connection-state", self._connection)
        else:
            _say("answer", status=201)

    def run(self):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, self._loop.quit)
        self._pipeline.set_state(Gst.State.PLAYING)
        feeder = threading.Thread(target=self._feed)
        feeder.start()
        self._loop.run()
        self._stopping.set()
        feeder.join()
        # GStreamer's sink asks for the end while it still sends.
        if self._location:
            _say("deleted", status=self._ask("DELETE", self._location)[0])
        self._pipeline.set_state(Gst.State.NULL)
        if self._out.get_factory().get_name() == "whipsink":
            _say("deleted", status=200)

    def _feed(self):
        """Each picture and block of sound when its moment has come, with the time of its capture."""
        sources = {b"0": self._pipeline.get_by_name("video"), b"a": self._pipeline.get_by_name("audio")}
        # Nothing is drawn ahead: the first pictures are late, as a camera's are.
        start, base = time.time(), self._pipeline.get_pipeline_clock().get_time() - self._pipeline.get_base_time()
        width, height = self._size
        lecture = {"first": start * 1000, "audio": "raw", "video": [{"codec": "raw", "width": width, "height": height}]}
        recorder = subprocess.Popen([*self._recorder, json.dumps(lecture)], stdout=subprocess.PIPE)
        _say("sending", first=int(start * 1000))
        while not self._stopping.is_set():
            header = recorder.stdout.read(HEADER.size)
            if len(header) < HEADER.size:
                break
            kind, us, _, length = HEADER.unpack(header)
            data = recorder.stdout.read(length)
            self._stopping.wait(max(0, start + us / 1e6 - time.time()))
            buffer = Gst.Buffer.new_wrapped(data)
            buffer.pts = base + us * 1000
            sources[kind].emit("push-buffer", buffer)
        recorder.kill()

    def _negotiate(self, out):
        for i in range(2):
            out.emit("get-transceiver", i).set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        out.emit("create-offer", None, Gst.Promise.new_with_change_func(self._offered))

    def _offered(self, promise):
        # The offer lives as long as the reply.
        reply = promise.get_reply()
        self._out.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def _gathered(self, out, _):
        if out.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE and not self._location:
            GLib.idle_add(self._post)

    def _post(self):
        offer = self._out.get_property("local-description").sdp.as_text()
        status, headers, body = self._ask("POST", self._url, offer)
        _say("answer", status=status, body=None if status == 201 else body)
        if status != 201:
            self._loop.quit()
            return
        self._location = urllib.parse.urljoin(self._url, headers["Location"])
        self._out.emit("set-remote-description", _description(GstWebRTC.WebRTCSDPType.ANSWER, body), Gst.Promise.new())

    def _ask(self, method, url, offer=None):
        headers = {"Authorization": f"Bearer {self._token}", **({"Content-Type": "application/sdp"} if offer else {})}
        request = urllib.request.Request(url, data=offer and offer.encode(), headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def _connection(self, out, _):
        _say("state", state=out.get_property("connection-state").value_nick)

    def _failed(self, _, message):
        error, more = message.parse_error()
        _say("failed", error=error.message, more=more)
        self._loop.quit()


def _description(kind, text):
    _, sdp = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, sdp)


def _say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


Gst.init(None)
Publisher(**json.loads(sys.argv[1])).run()
