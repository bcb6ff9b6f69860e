//! The ladder in GStreamer's words.

use timeline::{Grid, TICKS_PER_SECOND};

use super::Ladder;
use crate::config::Passthrough;
use crate::sound::{CHANNELS, RATE};
use crate::{Config, Rung};

/// The encoder may save up this much of its bitrate and spend it at once. Over a segment of 3.2 s that makes a
/// quarter of the bitrate: Apple's authoring rules ask for a peak within 25 % of the average.
const VBV_MS: u32 = 800;

/// The id of the parameter sets that are made here where others may stand beside them. Encoders count from 0.
pub const OWN_SETS: u8 = 31;

/// Each rung hangs on a queue of its own, so that rungs are encoded in
/// parallel; [`MAX_IN_FLIGHT`](super::MAX_IN_FLIGHT) bounds what is in them.
pub fn description(config: &Config, grid: Grid) -> String {
    let queue = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let source = "format=time is-live=false block=false max-bytes=0 max-buffers=0 max-time=0";
    let mut text = format!(
        "appsrc name=pictures {source} caps=\"{},framerate={TICKS_PER_SECOND}/{}\" ! tee name=canvas-0 ",
        Ladder::canvas(config),
        grid.frame.ticks(),
    );
    for (n, rung) in config.rungs.iter().enumerate() {
        if n > 0 {
            text += &format!(
                "canvas-{}. ! {queue} ! videoscale method=bilinear add-borders=false ! \
                 video/x-raw,width={},height={},pixel-aspect-ratio=1/1 ! tee name=canvas-{n} ",
                n - 1,
                rung.width(),
                rung.height,
            );
        }
        text += &format!(
            "canvas-{n}. ! {queue} name=queue-{n} ! {} ",
            x264(n, rung, config, grid)
        );
    }
    text += &format!(
        "appsrc name=sound {source} \
         caps=audio/x-raw,format=F32LE,layout=interleaved,rate={RATE},channels={CHANNELS},channel-mask=(bitmask)0x3 ! \
         audioconvert ! avenc_aac bitrate={} ! audio/mpeg,stream-format=raw ! appsink name=out-audio sync=false async=false",
        config.audio_bitrate_kbps * 1000,
    );
    text
}

/// One thread and no slices: no frame waits for another, and the rungs already fill the processors. No
/// keyframe is the encoder's own idea.
fn x264(n: usize, rung: &Rung, config: &Config, grid: Grid) -> String {
    let beside = match (n, config.passthrough) {
        (0, Passthrough::Auto) => beside_a_source(rung),
        _ => String::new(),
    };
    format!(
        "x264enc name=x264-{n} tune=zerolatency speed-preset={} bitrate={} vbv-buf-capacity={VBV_MS} bframes=0 \
         key-int-max={} threads=1 sliced-threads=false aud=false option-string=scenecut=0{beside} ! \
         video/x-h264,profile=high,stream-format=avc,alignment=au ! appsink name=out-{n} sync=false async=false",
        config.preset, rung.bitrate_kbps, grid.gop_frames,
    )
}

/// Parameter sets with a name of their own, and a level that leaves room for a source's: up to 1080p at 60 fps is what
/// every player decodes.
fn beside_a_source(rung: &Rung) -> String {
    format!(":sps-id={OWN_SETS}:level={}", level(rung))
}

pub fn level(rung: &Rung) -> u8 {
    if rung.height <= 1080 { 42 } else { 52 }
}
