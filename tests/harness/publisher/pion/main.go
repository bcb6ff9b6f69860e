// A publisher on Go's pion: a WebRTC of its own, that does all of WHIP: trickle ICE and ICE restart by PATCH, simulcast by rids with RTX,
// transport-wide feedback, ICE over TCP and IPv6. It sends what record.py encodes.
//
// Usage: pion-publisher OPTIONS-AS-JSON; writes one JSON line per event; leaves with DELETE on SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/pion/webrtc/v4"
)

// Options come as JSON.
type Options struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	// The program that encodes, its options are added: python record.py.
	Recorder []string `json:"recorder"`
	// H264, VP8, VP9, AV1.
	Codec string `json:"codec"`
	// Sizes of the picture, best first; simulcast where there are several; audio alone where there is none.
	Layers []Layer `json:"layers"`
	Audio  bool    `json:"audio"`
	// Options for the encoder.
	Encoder map[string]string `json:"encoder"`
	// udp4, udp6, tcp4 or tcp6: the only way it goes.
	Network string `json:"network"`
	// The offer is sent before there are candidates; they follow by PATCH.
	Trickle bool `json:"trickle"`
	// An ICE restart after so many seconds of media.
	RestartAfter float64 `json:"restartAfter"`
	// Of each layer, so many packets never leave.
	FirstLost int `json:"firstLost"`
	// The first layer stops after so many seconds of media.
	BestStopsAfter float64 `json:"bestStopsAfter"`
	NoRTX          bool    `json:"noRtx"`
}

// Layer is a size of the picture.
type Layer struct {
	Width  int `json:"width"`
	Height int `json:"height"`
	Kbps   int `json:"kbps,omitempty"`
}

// Until the first picture: the WHIP exchange happens, and the encoder gets ahead.
const lead = 4 * time.Second

func main() {
	var options Options
	if err := json.Unmarshal([]byte(os.Args[1]), &options); err != nil {
		fail(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := publish(ctx, options); err != nil {
		fail(err)
	}
}

func publish(ctx context.Context, options Options) error {
	connection, tracks, err := connect(options)
	if err != nil {
		return err
	}
	defer connection.Close()
	connected := make(chan struct{})
	var once sync.Once
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		say("state", event{"state": state.String()})
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	resource := &Resource{connection: connection, token: options.Token}
	if err := resource.Post(options.URL, options.Trickle); err != nil {
		return err
	}
	if connection.RemoteDescription() == nil {
		os.Exit(2)
	}
	first := time.Now().Add(lead).Truncate(time.Second)
	recording, err := Record(ctx, options, first)
	if err != nil {
		return err
	}
	select {
	case <-connected:
	case <-ctx.Done():
	}
	say("sending", event{"first": first.UnixMilli()})
	if options.RestartAfter > 0 {
		after := first.Add(seconds(options.RestartAfter))
		time.AfterFunc(time.Until(after), func() {
			if err := resource.Restart(); err != nil {
				say("failed", event{"error": err.Error()})
			}
		})
	}
	for frame := range recording {
		select {
		case <-time.After(time.Until(first.Add(frame.Decoded))):
		case <-ctx.Done():
			continue
		}
		if options.BestStopsAfter > 0 && frame.Kind == '0' && frame.Decoded > seconds(options.BestStopsAfter) {
			continue
		}
		if err := tracks.Send(frame); err != nil {
			return err
		}
	}
	tracks.Tell()
	if err := connection.Close(); err != nil {
		return err
	}
	return resource.Delete()
}

type event map[string]any

var saying sync.Mutex

func say(name string, more event) {
	line := event{"event": name}
	for key, value := range more {
		line[key] = value
	}
	text, _ := json.Marshal(line)
	// The harness looks for lines that begin with the event.
	delete(line, "event")
	rest, _ := json.Marshal(line)
	if len(line) > 0 {
		text = []byte(fmt.Sprintf(`{"event":%q,%s`, name, rest[1:]))
	}
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(string(text))
}

func fail(err error) {
	say("failed", event{"error": err.Error()})
	os.Exit(1)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
