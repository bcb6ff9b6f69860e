package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/pion/webrtc/v4"
)

// Resource is a WHIP session (RFC 9725).
type Resource struct {
	connection *webrtc.PeerConnection
	token      string
	location   string

	mu   sync.Mutex
	etag string
	// The answer that the session began with.
	answer string
	// Candidates found before there was a resource to tell them to.
	early []webrtc.ICECandidateInit
	ready bool
}

// Post sends the offer. What the server says no to is told as an event, and leaves no remote description.
func (r *Resource) Post(endpoint string, trickle bool) error {
	gathered := webrtc.GatheringCompletePromise(r.connection)
	if trickle {
		r.connection.OnICECandidate(r.found)
	}
	offer, err := r.connection.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err := r.connection.SetLocalDescription(offer); err != nil {
		return err
	}
	if !trickle {
		<-gathered
		offer = *r.connection.LocalDescription()
	}
	response, body, err := r.ask(http.MethodPost, endpoint, "application/sdp", "", offer.SDP)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		say("answer", event{"status": response.StatusCode, "body": body})
		return nil
	}
	location, err := response.Request.URL.Parse(response.Header.Get("Location"))
	if err != nil {
		return err
	}
	r.location = location.String()
	say("answer", event{"status": response.StatusCode, "simulcast": attribute(body, "simulcast"), "etag": response.Header.Get("ETag"), "links": response.Header.Values("Link")})
	if err := r.connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		return err
	}
	r.mu.Lock()
	r.answer, r.etag, r.ready = body, response.Header.Get("ETag"), true
	early := r.early
	r.mu.Unlock()
	for _, candidate := range early {
		r.tell(candidate)
	}
	return nil
}

// Restart is an ICE restart by PATCH (RFC 9725 §4.3.3).
func (r *Resource) Restart() error {
	offer, err := r.connection.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return err
	}
	// They go with the restart itself.
	r.connection.OnICECandidate(func(*webrtc.ICECandidate) {})
	gathered := webrtc.GatheringCompletePromise(r.connection)
	if err := r.connection.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	fragment := fragmentOf(r.connection.LocalDescription().SDP)
	response, body, err := r.ask(http.MethodPatch, r.location, "application/trickle-ice-sdpfrag", r.etag, fragment)
	if err != nil {
		return err
	}
	etag := response.Header.Get("ETag")
	say("restarted", event{"status": response.StatusCode, "etag": etag, "changed": etag != "" && etag != r.etag})
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the restart was answered with %d: %s", response.StatusCode, body)
	}
	answer := restarted(r.answer, body)
	r.mu.Lock()
	r.answer, r.etag = answer, etag
	r.mu.Unlock()
	return r.connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

// Delete ends the session.
func (r *Resource) Delete() error {
	response, _, err := r.ask(http.MethodDelete, r.location, "", "", "")
	if err == nil {
		say("deleted", event{"status": response.StatusCode})
	}
	return err
}

func (r *Resource) found(candidate *webrtc.ICECandidate) {
	if candidate == nil {
		return
	}
	r.mu.Lock()
	ready := r.ready
	if !ready {
		r.early = append(r.early, candidate.ToJSON())
	}
	r.mu.Unlock()
	if ready {
		r.tell(candidate.ToJSON())
	}
}

// tell sends one candidate (RFC 9725 §4.3.1).
func (r *Resource) tell(candidate webrtc.ICECandidateInit) {
	local := r.connection.LocalDescription().SDP
	fragment := credentials(local) + "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=" + candidate.Candidate + "\r\n"
	response, body, err := r.ask(http.MethodPatch, r.location, "application/trickle-ice-sdpfrag", r.etag, fragment)
	if err != nil {
		say("failed", event{"error": err.Error()})
		return
	}
	say("trickled", event{"status": response.StatusCode, "candidate": candidate.Candidate, "body": body})
}

func (r *Resource) ask(method, to, contentType, etag, body string) (*http.Response, string, error) {
	request, err := http.NewRequest(method, to, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, "", err
	}
	if _, err := url.Parse(to); err != nil {
		return nil, "", err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if etag != "" {
		request.Header.Set("If-Match", etag)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response, string(text), err
}

var (
	candidateLine  = regexp.MustCompile(`(?m)^a=(candidate:.*|end-of-candidates)\r?\n`)
	credentialLine = regexp.MustCompile(`(?m)^a=ice-(ufrag|pwd):.*\r?\n`)
	mediaLine      = regexp.MustCompile(`(?m)^m=`)
	midLine        = regexp.MustCompile(`(?m)^a=mid:.*\r?\n`)
)

// credentials are the lines of the first section.
func credentials(sdp string) string {
	lines := credentialLine.FindAllString(sdp, 2)
	return strings.Join(lines, "")
}

func fragmentOf(sdp string) string {
	media := mediaLine.FindStringIndex(sdp)[0]
	section := sdp[media:]
	line, _, _ := strings.Cut(section, "\n")
	fragment := credentials(sdp) + line + "\n" + midLine.FindString(section)
	end := len(section)
	if all := mediaLine.FindAllStringIndex(section, 2); len(all) > 1 {
		end = all[1][0]
	}
	return fragment + strings.Join(candidateLine.FindAllString(section[:end], -1), "")
}

// restarted is the answer with the server's new credentials and candidates.
func restarted(answer, fragment string) string {
	fresh := credentials(fragment)
	candidates := strings.Join(candidateLine.FindAllString(fragment, -1), "")
	answer = candidateLine.ReplaceAllString(answer, "")
	answer = regexp.MustCompile(`(?m)^a=ice-ufrag:.*\r?\n`).ReplaceAllString(answer, "")
	return regexp.MustCompile(`(?m)^a=ice-pwd:.*\r?\n`).ReplaceAllString(answer, fresh+candidates)
}

func attribute(sdp, name string) string {
	found := regexp.MustCompile(`(?m)^a=` + name + `:(.*?)\r?$`).FindStringSubmatch(sdp)
	if found == nil {
		return ""
	}
	return found[1]
}
