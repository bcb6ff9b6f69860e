package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	packetBytes = 1200
	videoClock  = 90_000
	audioClock  = 48_000
	videoType   = 96
	rtxType     = 97
	audioType   = 111
)

// Frame is one record of record.py.
type Frame struct {
	// 'a', or a layer of the video from '0' on.
	Kind               byte
	Decoded, Presented time.Duration
	Payload            []byte
}

// Record starts the encoder; its frames come until the context is done.
func Record(ctx context.Context, options Options, first time.Time) (<-chan Frame, error) {
	type video struct {
		Layer
		Codec   string            `json:"codec"`
		Encoder map[string]string `json:"encoder,omitempty"`
	}
	layers := []video{}
	for _, layer := range options.Layers {
		layers = append(layers, video{layer, options.Codec, options.Encoder})
	}
	wanted, err := json.Marshal(map[string]any{"first": first.UnixMilli(), "video": layers, "audio": options.Audio})
	if err != nil {
		return nil, err
	}
	recorder := exec.CommandContext(ctx, options.Recorder[0], append(options.Recorder[1:], string(wanted))...)
	recorder.Stderr = os.Stderr
	out, err := recorder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	frames := make(chan Frame)
	go func() {
		defer close(frames)
		in := bufio.NewReader(out)
		for {
			frame, err := read(in)
			if err != nil {
				return
			}
			frames <- frame
		}
	}()
	return frames, recorder.Start()
}

func read(in io.Reader) (Frame, error) {
	var header [21]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return Frame{}, err
	}
	us := func(at int) time.Duration {
		return time.Duration(int64(binary.BigEndian.Uint64(header[at:]))) * time.Microsecond
	}
	frame := Frame{Kind: header[0], Decoded: us(1), Presented: us(9), Payload: make([]byte, binary.BigEndian.Uint32(header[17:]))}
	_, err := io.ReadFull(in, frame.Payload)
	return frame, err
}

// Tracks are what is sent.
type Tracks struct {
	byKind map[byte]*track

	mu       sync.Mutex
	feedback map[string]int
}

type track struct {
	local      *webrtc.TrackLocalStaticRTP
	packetizer rtp.Packetizer
	clock      float64
	// Header extensions that name the section and the layer, by id.
	names     func() map[uint8]string
	firstLost int
}

func connect(options Options) (*webrtc.PeerConnection, *Tracks, error) {
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	video, payloader, err := register(engine, options)
	if err != nil {
		return nil, nil, err
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, nil, err
	}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry); err != nil {
		return nil, nil, err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings(options.Network)))
	connection, err := api.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		return nil, nil, err
	}
	tracks := &Tracks{byKind: map[byte]*track{}, feedback: map[string]int{}}
	if options.Audio {
		audio := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2}
		if err := tracks.add(connection, audio, &codecs.OpusPayloader{}, []byte{'a'}, options); err != nil {
			return nil, nil, err
		}
	}
	if kinds := []byte("0123456789")[:len(options.Layers)]; len(kinds) > 0 {
		err = tracks.add(connection, video, payloader, kinds, options)
	}
	return connection, tracks, err
}

func register(engine *webrtc.MediaEngine, options Options) (webrtc.RTPCodecCapability, rtp.Payloader, error) {
	payloaders := map[string]rtp.Payloader{"H264": &codecs.H264Payloader{}, "VP8": &codecs.VP8Payloader{EnablePictureID: true}, "VP9": &codecs.VP9Payloader{}, "AV1": &codecs.AV1Payloader{}, "": nil}
	payloader, known := payloaders[options.Codec]
	if !known {
		return webrtc.RTPCodecCapability{}, nil, fmt.Errorf("no codec %q", options.Codec)
	}
	feedback := []webrtc.RTCPFeedback{{Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	capability := webrtc.RTPCodecCapability{MimeType: "video/" + options.Codec, ClockRate: videoClock, RTCPFeedback: feedback}
	switch options.Codec {
	case "H264":
		capability.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f"
	case "VP9":
		capability.SDPFmtpLine = "profile-id=0"
	}
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: opus, PayloadType: audioType}, webrtc.RTPCodecTypeAudio); err != nil {
		return capability, payloader, err
	}
	if len(options.Layers) == 0 {
		return capability, payloader, nil
	}
	if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: videoType}, webrtc.RTPCodecTypeVideo); err != nil || options.NoRTX {
		return capability, payloader, err
	}
	rtx := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: videoClock, SDPFmtpLine: fmt.Sprintf("apt=%d", videoType)}
	return capability, payloader, engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: rtx, PayloadType: rtxType}, webrtc.RTPCodecTypeVideo)
}

// settings go one way only, where one is named, and on this machine alone.
func settings(network string) webrtc.SettingEngine {
	engine := webrtc.SettingEngine{}
	networks := map[string]webrtc.NetworkType{"udp4": webrtc.NetworkTypeUDP4, "udp6": webrtc.NetworkTypeUDP6, "tcp4": webrtc.NetworkTypeTCP4, "tcp6": webrtc.NetworkTypeTCP6}
	if only, named := networks[network]; named {
		engine.SetNetworkTypes([]webrtc.NetworkType{only})
	}
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	return engine
}

func (t *Tracks) add(connection *webrtc.PeerConnection, codec webrtc.RTPCodecCapability, payloader rtp.Payloader, kinds []byte, options Options) error {
	var sender *webrtc.RTPSender
	for n, kind := range kinds {
		named := []func(*webrtc.TrackLocalStaticRTP){}
		rid := ""
		if len(kinds) > 1 {
			rid = string(kind)
			named = append(named, webrtc.WithRTPStreamID(rid))
		}
		local, err := webrtc.NewTrackLocalStaticRTP(codec, codec.MimeType[:5], "lecture", named...)
		if err != nil {
			return err
		}
		if n == 0 {
			transceiver, err := connection.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				return err
			}
			sender = transceiver.Sender()
		} else if err := sender.AddEncoding(local); err != nil {
			return err
		}
		sequence := rtp.NewRandomSequencer()
		t.byKind[kind] = &track{
			local:      local,
			packetizer: rtp.NewPacketizer(packetBytes, 0, 0, payloader, sequence, codec.ClockRate),
			clock:      float64(codec.ClockRate),
			names:      func() map[uint8]string { return names(connection, sender, rid) },
			firstLost:  options.FirstLost,
		}
		go t.listen(sender, rid)
	}
	return nil
}

// names are the header extensions of a layer: where no a=ssrc says whose a packet is (RFC 8852, RFC 9143).
func names(connection *webrtc.PeerConnection, sender *webrtc.RTPSender, rid string) map[uint8]string {
	if rid == "" {
		return nil
	}
	mid := ""
	for _, transceiver := range connection.GetTransceivers() {
		if transceiver.Sender() == sender {
			mid = transceiver.Mid()
		}
	}
	found := map[uint8]string{}
	for _, extension := range sender.GetParameters().HeaderExtensions {
		switch extension.URI {
		case sdp.SDESMidURI:
			found[uint8(extension.ID)] = mid
		case sdp.SDESRTPStreamIDURI:
			found[uint8(extension.ID)] = rid
		}
	}
	return found
}

var start = rand.Uint32()

// Send sends one frame, in as many packets as it needs.
func (t *Tracks) Send(frame Frame) error {
	track := t.byKind[frame.Kind]
	names := track.names()
	for _, packet := range track.packetizer.Packetize(frame.Payload, 0) {
		packet.Timestamp = start + uint32(int64(frame.Presented.Seconds()*track.clock))
		for id, name := range names {
			if err := packet.SetExtension(id, []byte(name)); err != nil {
				return err
			}
		}
		if track.firstLost > 0 && frame.Kind != 'a' {
			track.firstLost--
			continue
		}
		if err := track.local.WriteRTP(packet); err != nil {
			return err
		}
	}
	return nil
}

// listen counts what the server says about a track.
func (t *Tracks) listen(sender *webrtc.RTPSender, rid string) {
	for {
		var packets []rtcp.Packet
		var err error
		if rid == "" {
			packets, _, err = sender.ReadRTCP()
		} else {
			packets, _, err = sender.ReadSimulcastRTCP(rid)
		}
		if err != nil {
			return
		}
		t.mu.Lock()
		for _, packet := range packets {
			t.feedback[fmt.Sprintf("%T", packet)[len("*rtcp."):]]++
		}
		t.mu.Unlock()
	}
}

// Tell says what the server said.
func (t *Tracks) Tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	say("feedback", event{"packets": t.feedback})
}
