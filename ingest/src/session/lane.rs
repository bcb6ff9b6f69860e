//! One picture or one sound of a publisher: a track, and the streams that feed it. More than one where the publisher
//! sends layers (simulcast): the best that comes whole is shown.

use std::time::{Duration, Instant};

use bytes::Bytes;
use timeline::{BroadcastId, Codec, SourceName};

use super::clock::Clock;
use super::flow::{Flow, Gauges};
use super::layers::{Choice, Layer};
use super::reading::{Reading, labels};
use crate::capture::TrackIndex;
use crate::rtp::{Picture, Repair, size};

/// Another SSRC takes a stream's place when the one before has been silent for so long.
const SSRC_SILENCE: Duration = Duration::from_secs(1);
/// Layers at once, each with its own reordering and pictures in waiting.
const MAX_LAYERS: usize = 4;
/// What a layer that is not shown holds ready since its keyframe, so that falling back to it needs no new one, which
/// OBS would not send: 10 s at 60 pictures a second, …
const MAX_WAITING: usize = 600;
/// … at 8 Mbit/s.
const MAX_WAITING_BYTES: usize = 10 * 1024 * 1024;

pub(super) struct Lane {
    broadcast: BroadcastId,
    pub source: SourceName,
    /// Whether the section may send several streams at once.
    layered: bool,
    /// How long a missing packet is waited for.
    repair: Repair,
    pub flows: Vec<Flow>,
    /// Of each flow, in the same order.
    layers: Vec<Layer>,
    waiting: Vec<Waiting>,
    choice: Choice,
    replaced: bool,
    /// How large what is shown is, once that is known.
    pixels: Option<Reading>,
}

/// The pictures of a layer since its last keyframe.
#[derive(Default)]
struct Waiting {
    pictures: Vec<Picture>,
    bytes: usize,
}

/// A picture that is to be sent, and of which flow it is.
pub(super) type Shown = (usize, Picture);

impl Lane {
    pub fn new(broadcast: &BroadcastId, source: SourceName, layered: bool, repair: Repair) -> Self {
        Lane {
            broadcast: broadcast.clone(),
            source,
            layered,
            repair,
            flows: Vec::new(),
            layers: Vec::new(),
            waiting: Vec::new(),
            choice: Choice::default(),
            replaced: false,
            pixels: None,
        }
    }

    /// The flow of this stream, begun if it is new, unless its place is taken by one that still comes.
    pub fn flow(
        &mut self,
        arriving: Arriving,
        clock: &mut Clock,
        now: Instant,
    ) -> Result<&mut Flow, PlaceTaken> {
        let Arriving { codec, ssrc, rid } = &arriving;
        let known = self
            .flows
            .iter()
            .position(|flow| flow.ssrc == *ssrc && flow.codec == *codec);
        if let Some(n) = known {
            return Ok(&mut self.flows[n]);
        }
        // The same stream with another codec, a layer that comes anew under its name, or whatever fell silent.
        let same = |flow: &Flow| flow.ssrc == *ssrc || (rid.is_some() && flow.rid == *rid);
        let is_over = |flow: &Flow| flow.is_silent(now, SSRC_SILENCE);
        let place = self.flows.iter().position(same);
        match place.or_else(|| self.flows.iter().position(is_over)) {
            Some(n) => {
                let index = clock.begin(codec.clock_rate(), Some(self.flows[n].clock));
                self.replace(n, self.begin(arriving, index, now));
                Ok(&mut self.flows[n])
            }
            None if self.flows.is_empty() || (self.layered && self.flows.len() < MAX_LAYERS) => {
                let index = clock.begin(codec.clock_rate(), None);
                self.layers.push(Layer::default());
                self.waiting.push(Waiting::default());
                self.flows.push(self.begin(arriving, index, now));
                let last = self.flows.len() - 1;
                Ok(&mut self.flows[last])
            }
            None => Err(PlaceTaken),
        }
    }

    fn begin(&self, arriving: Arriving, clock: TrackIndex, now: Instant) -> Flow {
        let Arriving { codec, ssrc, rid } = &arriving;
        let rid = rid.as_deref().map(String::from_utf8_lossy);
        tracing::info!(codec = codec.name(), ssrc, ?rid, "a stream begins");
        let gauges = Gauges::new(&self.broadcast, &self.source, *codec);
        Flow::new(arriving, clock, self.repair, gauges, now)
    }

    fn replace(&mut self, n: usize, flow: Flow) {
        // A layer of the same name is another encoder's run of the same picture; anything else is another source.
        let is_layer = flow.rid.is_some() && flow.codec == self.flows[n].codec;
        if !is_layer && self.choice.shown.is_none_or(|shown| shown == n) {
            self.replaced = true;
            self.choice.shown = None;
        }
        self.flows[n] = flow;
        self.layers[n] = Layer::default();
        self.waiting[n] = Waiting::default();
    }

    /// The pictures to be sent now, in order.
    pub fn pictures(&mut self, now: Instant) -> Vec<Shown> {
        let mut shown = Vec::new();
        for n in 0..self.flows.len() {
            for picture in self.flows[n].intake.frames(now) {
                self.take(n, picture, now, &mut shown);
            }
            if !self.flows[n].intake.is_clean() {
                self.layers[n].lost();
                self.waiting[n] = Waiting::default();
            }
        }
        if self.is_layered() {
            self.look_around(now, &mut shown);
        }
        shown
    }

    fn take(&mut self, n: usize, picture: Picture, now: Instant, shown: &mut Vec<Shown>) {
        let flow = &self.flows[n];
        if !flow.codec.is_video() {
            shown.push((n, picture));
            return;
        }
        let area = match picture.keyframe {
            true => size(flow.codec, &picture.payload).map(|(width, height)| width.saturating_mul(height)),
            false => None,
        };
        self.layers[n].picture(area, now);
        if self.choice.shown != Some(n) {
            if !picture.keyframe || !self.choice.rises_to(&self.layers, n, now) {
                return self.waiting[n].push(picture);
            }
            self.show(n);
        }
        if let Some(area) = area {
            self.tell(area);
        }
        shown.push((n, picture));
    }

    /// How large what is shown is, in pixels.
    fn tell(&mut self, area: u32) {
        let pixels = self.pixels.get_or_insert_with(|| {
            let labels = labels(&self.broadcast, &self.source);
            Reading::of(metrics::gauge!("lectern_ingest_picture_pixels", &labels))
        });
        pixels.set(f64::from(area));
    }

    /// Falls back where the shown layer has stopped, and asks for a keyframe where a better one has settled.
    fn look_around(&mut self, now: Instant, shown: &mut Vec<Shown>) {
        if let Some(n) = self.choice.fall_back(&self.layers, now) {
            let waiting = std::mem::take(&mut self.waiting[n]);
            if waiting.pictures.is_empty() {
                self.flows[n].intake.want_keyframe();
            } else {
                self.show(n);
                self.tell(self.layers[n].area);
                shown.extend(waiting.pictures.into_iter().map(|picture| (n, picture)));
            }
        } else if let Some(n) = self.choice.better(&self.layers, now) {
            self.flows[n].intake.want_keyframe();
        }
    }

    fn show(&mut self, n: usize) {
        if self.is_layered() {
            tracing::info!(source = %self.source, area = self.layers[n].area, layer = n, "this layer is shown");
            let broadcast = self.broadcast.to_string();
            metrics::counter!("lectern_ingest_layer_switches_total", "broadcast" => broadcast).increment(1);
        }
        self.choice.shown = Some(n);
        self.waiting[n] = Waiting::default();
    }

    /// Who wants a keyframe wants it of what is shown.
    pub fn want_keyframe(&mut self) {
        if let Some(flow) = self.choice.shown.and_then(|n| self.flows.get_mut(n)) {
            flow.intake.want_keyframe();
        }
    }

    pub fn of(&self, ssrc: u32) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.ssrc == ssrc)
    }

    /// Whether what is shown has become another stream since the last call: another track begins with it.
    pub fn take_replaced(&mut self) -> bool {
        std::mem::take(&mut self.replaced)
    }

    fn is_layered(&self) -> bool {
        self.flows.len() > 1
    }
}

impl Waiting {
    fn push(&mut self, picture: Picture) {
        if picture.keyframe {
            *self = Waiting::default();
        } else if self.pictures.is_empty() {
            return;
        }
        self.bytes += picture.payload.len();
        self.pictures.push(picture);
        if self.pictures.len() > MAX_WAITING || self.bytes > MAX_WAITING_BYTES {
            *self = Waiting::default();
        }
    }
}

/// A stream's place is taken by another that still comes.
pub(super) struct PlaceTaken;

/// What a packet says of its stream.
pub(super) struct Arriving {
    pub codec: Codec,
    pub ssrc: u32,
    pub rid: Option<Bytes>,
}
