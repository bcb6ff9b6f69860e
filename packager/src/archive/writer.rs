//! Writes a broadcast on air to the archive, so that its folder is a playable HLS presentation at every moment.
//!
//! A segment is listed once it is kept; one of texts, whoever makes it is asked for, and nothing else waits for it. What fails is tried again, ever more slowly, until long after the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use timeline::{Archive, BroadcastId, Object, TextRendition};
use tokio::time::{Instant, sleep, timeout};

use super::{Backlog, Filed, Job, content_type};
use crate::error::Error;
use crate::meters::Meters;
use crate::playlist::{self, END_LIST};
use crate::recording::{self, Recorder};
use crate::storyboard::{FOLDER, STORYBOARD, still_name};
use crate::whole::text_entry;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// Whoever makes the texts answers in milliseconds; in trouble they are asked again with the next segment.
const TEXT_PATIENCE: Duration = Duration::from_secs(2);

/// What is written once, with the first segments.
pub(crate) struct Presented {
    pub lanes: Vec<Lane>,
    pub texts: Vec<TextLane>,
    /// The playlists beside the renditions: `index.m3u8`, `audio.m3u8`.
    pub multivariants: Vec<(&'static str, Bytes)>,
    /// The storyboard up to its first cue, if the line has stills.
    pub storyboard: Option<String>,
}

pub(crate) struct Lane {
    pub name: String,
    pub init_name: String,
    pub init: Bytes,
    /// The media playlist up to its first segment.
    pub head: String,
    /// The same of the I-frame playlist; none for sound.
    pub iframes_head: Option<String>,
}

/// A rendition of texts.
pub(crate) struct TextLane {
    rendition: TextRendition,
    /// So far.
    playlist: String,
    /// The segments that are not known to be kept, in order.
    owed: VecDeque<(u64, playlist::Segment)>,
}

impl TextLane {
    pub fn new(
        rendition: TextRendition,
        playlist: String,
        owed: VecDeque<(u64, playlist::Segment)>,
    ) -> TextLane {
        TextLane {
            rendition,
            playlist,
            owed,
        }
    }

    /// Lists what is kept.
    async fn advance(&mut self, broadcast: &BroadcastId) {
        while let Some((msn, entry)) = self.owed.front() {
            if !entry.gap && !self.keep(broadcast, *msn).await {
                return;
            }
            entry.render(&mut self.playlist);
            self.owed.pop_front();
        }
    }

    async fn keep(&self, broadcast: &BroadcastId, msn: u64) -> bool {
        let kept = self.rendition.segments.keep(broadcast, msn);
        let kept = timeout(TEXT_PATIENCE, kept).await;
        match &kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%broadcast, msn, %error, "a segment of texts is not kept"),
            Err(_) => tracing::warn!(%broadcast, msn, "a segment of texts is not kept yet"),
        }
        matches!(kept, Ok(Ok(())))
    }

    /// What could not be kept is a gap.
    fn give_up(&mut self) {
        for (_, mut entry) in self.owed.drain(..) {
            entry.gap = true;
            entry.render(&mut self.playlist);
        }
    }
}

/// The playlists of one rendition so far.
struct Playlists {
    media: String,
    iframes: Option<String>,
}

impl Playlists {
    fn of(lane: &Lane) -> Playlists {
        Playlists {
            media: lane.head.clone(),
            iframes: lane.iframes_head.clone(),
        }
    }

    fn add(&mut self, entry: &playlist::Segment) {
        entry.render(&mut self.media);
        if let Some(iframes) = &mut self.iframes {
            entry.render_pictures(iframes);
        }
    }
}

pub(crate) struct Writer {
    pub broadcast: BroadcastId,
    pub archive: Arc<dyn Archive>,
    pub meters: Meters,
    pub backlog: Arc<Backlog>,
    /// Segments before this MSN are kept (or given up), and may leave memory.
    pub kept: Arc<AtomicU64>,
    /// How long after the end it is still tried.
    pub patience: Duration,
}

/// The archive failed for too long after the end.
struct GaveUp(String);

/// The recording, written down beside what is kept.
impl Presented {
    fn recorder(&self) -> Recorder {
        let multivariant = self.multivariants.first().map_or(&[][..], |(_, text)| text);
        let lanes = self
            .lanes
            .iter()
            .map(|lane| (lane.name.as_str(), lane.init.clone()));
        Recorder::new(multivariant, lanes)
    }

    fn record(&self, recorder: &mut Recorder, job: &Job) {
        for (lane, filed) in self.lanes.iter().zip(&job.segments) {
            if let Some(init) = &filed.init {
                recorder.renew(&lane.name, init);
            }
            if !filed.entry.gap {
                recorder.push(&lane.name, job.msn, &filed.body);
            }
        }
    }

    fn index(&self, recorder: Recorder, playlists: &[Playlists]) -> Option<Vec<u8>> {
        let place = |name: &str| self.lanes.iter().position(|lane| lane.name == name);
        recorder.finish(|name| Some(format!("{}{END_LIST}", playlists.get(place(name)?)?.media)))
    }
}

impl Writer {
    /// Runs until the backlog is closed and empty; then the playlists carry ENDLIST.
    pub async fn run(self, mut presented: Presented) -> Result<(), Error> {
        let mut playlists: Vec<Playlists> = presented.lanes.iter().map(Playlists::of).collect();
        let texts = std::mem::take(&mut presented.texts);
        self.write(&presented, &mut playlists, texts)
            .await
            .map_err(|GaveUp(reason)| {
                let segments = self.backlog.len() as u64 + 1;
                self.meters.archive_lost.increment(segments);
                Error::NotKept { segments, reason }
            })
    }

    async fn write(
        &self,
        presented: &Presented,
        playlists: &mut [Playlists],
        mut texts: Vec<TextLane>,
    ) -> Result<(), GaveUp> {
        try_join_all(
            presented
                .lanes
                .iter()
                .map(|lane| self.put(&lane.name, &lane.init_name, lane.init.clone())),
        )
        .await?;
        let mut recorder = presented.recorder();
        let mut announced = false;
        let mut storyboard = presented.storyboard.clone();
        while let Some(job) = self.backlog.next().await {
            self.keep(presented, &job).await?;
            presented.record(&mut recorder, &job);
            for (playlist, filed) in playlists.iter_mut().zip(&job.segments) {
                playlist.add(&filed.entry);
            }
            if let Some(text) = &mut storyboard {
                text.push_str(&job.cues.text);
            }
            let entries = job.segments.iter().map(|filed| &filed.entry);
            if let Some(entry) = text_entry(job.msn, entries) {
                let owe = |texts: &mut TextLane| texts.owed.push_back((job.msn, entry.clone()));
                texts.iter_mut().for_each(owe);
            }
            self.kept.fetch_max(job.msn + 1, Ordering::Release);
            let waiting = self.backlog.len();
            self.meters.archive_queue.set(waiting as f64);
            // Playlists are written when there is nothing more urgent.
            if waiting == 0 {
                self.publish(presented, playlists, "").await?;
                self.publish_storyboard(&storyboard).await?;
                self.publish_texts(&mut texts).await?;
                if !announced {
                    self.announce(presented).await?;
                    announced = true;
                }
            }
        }
        // Before what says that the recording is there.
        if let Some(index) = presented.index(recorder, playlists) {
            self.put("", recording::INDEX, index.into()).await?;
        }
        self.publish(presented, playlists, END_LIST).await?;
        self.publish_storyboard(&storyboard).await?;
        self.end_texts(&mut texts).await?;
        if !announced {
            self.announce(presented).await?;
        }
        Ok(())
    }

    async fn keep(&self, presented: &Presented, job: &Job) -> Result<(), GaveUp> {
        let segments = || presented.lanes.iter().zip(&job.segments);
        // Before what needs them.
        let inits = segments().filter_map(|(lane, filed)| {
            let (name, init) = filed.entry.turn.map.as_ref().zip(filed.init.clone())?;
            Some(self.put(&lane.name, name, init))
        });
        try_join_all(inits).await?;
        let whole = segments().filter(|(_, filed)| !filed.entry.gap);
        try_join_all(
            whole.map(|(lane, Filed { entry, body, .. })| self.put(&lane.name, &entry.uri, body.clone())),
        )
        .await?;
        for (msn, still) in &job.cues.stills {
            self.put(FOLDER, &still_name(*msn), still.clone()).await?;
        }
        Ok(())
    }

    async fn publish(&self, presented: &Presented, playlists: &[Playlists], end: &str) -> Result<(), GaveUp> {
        let all = presented.lanes.iter().zip(playlists);
        let texts = all.flat_map(|(lane, playlists)| {
            let iframes = playlists
                .iframes
                .as_ref()
                .map(|text| (lane, "iframes.m3u8", text));
            [(lane, "index.m3u8", &playlists.media)]
                .into_iter()
                .chain(iframes)
        });
        let put = |(lane, name, text): (&Lane, &'static str, &String)| {
            let (folder, text) = (lane.name.clone(), Bytes::from(format!("{text}{end}")));
            async move { self.put(&folder, name, text).await }
        };
        try_join_all(texts.map(put)).await?;
        Ok(())
    }

    /// After the playlists: its cues are of segments that are listed.
    async fn publish_storyboard(&self, storyboard: &Option<String>) -> Result<(), GaveUp> {
        match storyboard {
            Some(text) => self.put(FOLDER, STORYBOARD, text.clone().into()).await,
            None => Ok(()),
        }
    }

    async fn publish_texts(&self, texts: &mut [TextLane]) -> Result<(), GaveUp> {
        for lane in texts {
            lane.advance(&self.broadcast).await;
            self.put(lane.rendition.folder, "index.m3u8", lane.playlist.clone().into())
                .await?;
        }
        Ok(())
    }

    async fn end_texts(&self, texts: &mut [TextLane]) -> Result<(), GaveUp> {
        let ended = Instant::now();
        for lane in texts {
            let mut pause = FIRST_RETRY;
            lane.advance(&self.broadcast).await;
            while !lane.owed.is_empty() && ended.elapsed() < self.patience {
                sleep(pause).await;
                pause = (pause * 2).min(SLOWEST_RETRY);
                lane.advance(&self.broadcast).await;
            }
            lane.give_up();
            let text = format!("{}{END_LIST}", lane.playlist);
            self.put(lane.rendition.folder, "index.m3u8", text.into()).await?;
        }
        Ok(())
    }

    /// The multivariant playlists come last: they lead to what is there.
    async fn announce(&self, presented: &Presented) -> Result<(), GaveUp> {
        for (name, text) in &presented.multivariants {
            self.put("", name, text.clone()).await?;
        }
        Ok(())
    }

    async fn put(&self, folder: &str, name: &str, body: Bytes) -> Result<(), GaveUp> {
        let key = match folder {
            "" => format!("{}/{name}", self.broadcast),
            _ => format!("{}/{folder}/{name}", self.broadcast),
        };
        let object = Object {
            content_type: content_type(&key).to_owned(),
            body,
        };
        let mut pause = FIRST_RETRY;
        let mut ended: Option<Instant> = None;
        while let Err(error) = self.archive.put(&key, object.clone()).await {
            self.meters.archive_retries.increment(1);
            tracing::warn!(broadcast = %self.broadcast, %key, %error, ?pause, "the archive failed; trying again");
            if self.backlog.is_closed() && ended.get_or_insert_with(Instant::now).elapsed() >= self.patience {
                return Err(GaveUp(error.to_string()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_RETRY);
        }
        Ok(())
    }
}
