//! Loads what a line may need: once a process is confined, and while viewers wait, a plugin is loaded late.

use gstreamer::prelude::*;

/// The elements of all pipelines here. What a machine lacks is told when it is used.
const ELEMENTS: [&str; 24] = [
    "appsrc",
    "appsink",
    "capsfilter",
    "queue",
    "tee",
    "videoconvert",
    "videoscale",
    "audioconvert",
    "audioresample",
    "x264enc",
    "avenc_aac",
    "jpegenc",
    "h264parse",
    "avdec_h264",
    "vp8dec",
    "vp9dec",
    "av1parse",
    "av1dec",
    "dav1ddec",
    "opusdec",
    "avdec_g722",
    "mulawdec",
    "alawdec",
    "compositor",
];

pub fn up() {
    for name in ELEMENTS {
        if let Some(factory) = gstreamer::ElementFactory::find(name) {
            let _ = factory.load();
        }
    }
}
