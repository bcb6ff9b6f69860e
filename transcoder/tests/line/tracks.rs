//! Publishers that send sound alone, pictures alone, or one of them later.

use super::*;

use studio::Recording;
use timeline::{Frame, Timeline};

/// A line of four seconds of a source whose tracks begin when their first frame is sent.
async fn line(frames: impl FnOnce(Timeline) -> Vec<(Codec, Vec<Frame>)>) -> (Recording, Timeline) {
    let (job, config) = (job(), config(child()));
    let (timeline, grid) = (job.timeline, job.grid);
    let tracks = frames(timeline);
    let (source, line) = (Producer::new(), Producer::new());
    let recording = Recording::of(&line);
    let run = tokio::spawn(transcoder::run(config, job, source.subscribe(Policy::Line), line));

    let sent = tracks.into_iter().map(|(codec, frames)| {
        let source = &source;
        async move {
            let first = &frames[0];
            tokio::time::sleep((timeline.wall(first.at) - now()).to_duration()).await;
            source.send(track(first.track, codec));
            publish(source, timeline, frames).await;
        }
    });
    futures::future::join_all(sent).await;
    source.send(Record::End(MediaTime::from_ticks(360_000)));
    run.await.unwrap().unwrap();
    let recording = recording.await.unwrap();
    let (slots, extra) = recording.assert_unbroken(grid);
    assert_eq!((slots, extra), (121, vec![]));
    (recording, timeline)
}

fn from(frames: Vec<Frame>, at: MediaTime) -> Vec<Frame> {
    frames.into_iter().filter(|frame| frame.at >= at).collect()
}

/// Slots that show the slate, by the top rung: it has no clock.
fn slates(recording: &Recording, timeline: Timeline) -> Vec<i64> {
    let clocks = recording.clocks(&recording.renditions[0], timeline);
    let slates = (0..)
        .zip(&clocks)
        .filter(|(_, clock)| clock.is_none_or(|clock| clock < -10_000));
    slates.map(|(slot, _)| slot).collect()
}

/// Each tick that was sent is heard where it was, and nothing else is.
fn assert_ticks(recording: &Recording, from: i64) {
    let (heard, said) = (onsets(&recording.heard()), ticks_begin(205));
    // The one at 0 falls into the first window of a decoder that just starts.
    let said: Vec<i64> = said[1..].iter().copied().filter(|at| *at >= from).collect();
    assert_eq!(heard.len(), said.len(), "{heard:?} {said:?}");
    for (heard, said) in heard.iter().zip(&said) {
        assert!(
            (heard - said).abs() <= 180,
            "a tick is {} ticks off",
            heard - said
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_heard_under_the_slate() {
    let _alone = ONE_LINE.lock().await;
    let (recording, timeline) = line(|_| vec![(Codec::Opus, sound(AUDIO, 205))]).await;
    assert_eq!(slates(&recording, timeline), (0..121).collect::<Vec<_>>());
    assert_ticks(&recording, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_alone_are_shown_over_silence() {
    let _alone = ONE_LINE.lock().await;
    let (recording, timeline) = line(|t| vec![(Codec::Vp8, pictures(VIDEO, Codec::Vp8, t, 0, 121))]).await;
    assert_clocks(&recording, timeline, 0..121);
    let loudest = recording
        .heard()
        .iter()
        .map(|sample| sample.abs())
        .fold(0.0, f32::max);
    assert!(loudest < 0.001, "{loudest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_begins_later_is_heard_from_then_on() {
    let _alone = ONE_LINE.lock().await;
    let begin = MediaTime::from_ticks(150_000);
    let (recording, timeline) = line(|t| {
        vec![
            (Codec::H264, pictures(VIDEO, Codec::H264, t, 0, 121)),
            (Codec::Opus, from(sound(AUDIO, 205), begin)),
        ]
    })
    .await;
    assert_clocks(&recording, timeline, 0..121);
    assert_ticks(&recording, begin.ticks());
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_begin_later_replace_the_slate() {
    let _alone = ONE_LINE.lock().await;
    let (recording, timeline) = line(|t| {
        vec![
            (Codec::Opus, sound(AUDIO, 205)),
            (Codec::H264, pictures(VIDEO, Codec::H264, t, 45, 76)),
        ]
    })
    .await;
    let slates = slates(&recording, timeline);
    assert_eq!(slates[..45], (0..45).collect::<Vec<_>>());
    // A busy machine may be a moment late with the first.
    assert!(slates.len() < 45 + 30, "{slates:?}");
    assert_clocks(&recording, timeline, 45..121);
    assert_ticks(&recording, 0);
}
