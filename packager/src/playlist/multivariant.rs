//! The multivariant playlist (section 4.4.6).

use std::fmt::Write;

use timeline::{Span, TICKS_PER_SECOND};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multivariant {
    pub audio: Vec<Alternative>,
    pub subtitles: Vec<Subtitles>,
    pub variants: Vec<Variant>,
    pub i_frames: Vec<IFrameVariant>,
}

/// EXT-X-MEDIA:TYPE=AUDIO; all are in the group `audio`, the first is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    pub name: String,
    pub language: String,
    pub channels: u32,
    pub uri: String,
}

/// EXT-X-MEDIA:TYPE=SUBTITLES; all are in the group `text`. Players leave them off until somebody chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtitles {
    pub name: &'static str,
    pub language: &'static str,
    pub uri: String,
}

/// EXT-X-STREAM-INF
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The largest sum of peaks of what is played together, container included.
    pub bandwidth: u32,
    pub average_bandwidth: u32,
    pub codecs: String,
    /// Width and height.
    pub resolution: Option<(u32, u32)>,
    /// The span of one picture.
    pub frame: Option<Span>,
    /// The group that sounds with it.
    pub audio: Option<&'static str>,
    pub uri: String,
}

/// EXT-X-I-FRAME-STREAM-INF (4.4.6.3)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IFrameVariant {
    /// No less than a picture's bits over the time it stands for.
    pub bandwidth: u32,
    pub codecs: String,
    pub resolution: (u32, u32),
    pub uri: String,
}

impl Multivariant {
    /// EXT-X-MEDIA makes sense from version 4 on (section 8).
    pub fn render(&self) -> String {
        let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        for (n, alternative) in self.audio.iter().enumerate() {
            alternative.render(&mut out, n == 0);
        }
        self.subtitles
            .iter()
            .for_each(|subtitles| subtitles.render(&mut out));
        let text = (!self.subtitles.is_empty()).then_some("text");
        self.variants
            .iter()
            .for_each(|variant| variant.render(&mut out, text));
        self.i_frames.iter().for_each(|variant| variant.render(&mut out));
        out
    }
}

impl Alternative {
    fn render(&self, out: &mut String, default: bool) {
        let Alternative {
            name,
            language,
            channels,
            uri,
        } = self;
        let default = if default { "YES" } else { "NO" };
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{name}\",LANGUAGE=\"{language}\",\
             DEFAULT={default},AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"{uri}\""
        );
    }
}

impl Subtitles {
    fn render(&self, out: &mut String) {
        let Subtitles { name, language, uri } = self;
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"{name}\",LANGUAGE=\"{language}\",\
             DEFAULT=NO,AUTOSELECT=NO,FORCED=NO,URI=\"{uri}\""
        );
    }
}

impl Variant {
    fn render(&self, out: &mut String, subtitles: Option<&str>) {
        let Variant {
            bandwidth,
            average_bandwidth,
            codecs,
            uri,
            ..
        } = self;
        let _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={average_bandwidth},CODECS=\"{codecs}\""
        );
        if let Some((width, height)) = self.resolution {
            let _ = write!(out, ",RESOLUTION={width}x{height}");
        }
        if let Some(rate) = self.frame.and_then(millihertz) {
            let _ = write!(out, ",FRAME-RATE={}.{:03}", rate / 1000, rate % 1000);
        }
        if let Some(group) = self.audio {
            let _ = write!(out, ",AUDIO=\"{group}\"");
        }
        if let Some(group) = subtitles {
            let _ = write!(out, ",SUBTITLES=\"{group}\"");
        }
        let _ = writeln!(out, "\n{uri}");
    }
}

impl IFrameVariant {
    fn render(&self, out: &mut String) {
        let IFrameVariant {
            bandwidth,
            codecs,
            resolution: (width, height),
            uri,
        } = self;
        let _ = writeln!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"{codecs}\",RESOLUTION={width}x{height},\
             URI=\"{uri}\""
        );
    }
}

/// A thousand times the frame rate, to the nearest.
fn millihertz(frame: Span) -> Option<i64> {
    let ticks = frame.ticks();
    (ticks > 0).then(|| (TICKS_PER_SECOND * 1000 + ticks / 2) / ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_with_separate_audio_and_subtitles() {
        let variant = |bandwidth, resolution, name| Variant {
            bandwidth,
            average_bandwidth: bandwidth - 10_000,
            codecs: "avc1.64001f,mp4a.40.2".into(),
            resolution: Some(resolution),
            frame: Some(Span::from_ticks(3000)),
            audio: Some("audio"),
            uri: format!("{name}/index.m3u8"),
        };
        let playlist = Multivariant {
            audio: vec![Alternative {
                name: "Audio".into(),
                language: "und".into(),
                channels: 2,
                uri: "audio/index.m3u8".into(),
            }],
            subtitles: vec![Subtitles {
                name: "Chat",
                language: "und",
                uri: "chat/index.m3u8".into(),
            }],
            variants: vec![
                variant(2_640_000, (1280, 720), "720p"),
                Variant {
                    frame: Some(Span::from_ticks(3003)),
                    ..variant(740_000, (640, 360), "360p")
                },
            ],
            i_frames: vec![IFrameVariant {
                bandwidth: 606_000,
                codecs: "avc1.64001f".into(),
                resolution: (640, 360),
                uri: "360p/iframes.m3u8".into(),
            }],
        };
        assert_eq!(
            playlist.render(),
            "\
#EXTM3U
#EXT-X-VERSION:4
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/index.m3u8\"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"Chat\",LANGUAGE=\"und\",DEFAULT=NO,AUTOSELECT=NO,FORCED=NO,URI=\"chat/index.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=2640000,AVERAGE-BANDWIDTH=2630000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO=\"audio\",SUBTITLES=\"text\"
720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=740000,AVERAGE-BANDWIDTH=730000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO=\"audio\",SUBTITLES=\"text\"
360p/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=606000,CODECS=\"avc1.64001f\",RESOLUTION=640x360,URI=\"360p/iframes.m3u8\"
"
        );
    }

    #[test]
    fn audio_alone() {
        let playlist = Multivariant {
            audio: vec![],
            subtitles: vec![],
            variants: vec![Variant {
                bandwidth: 134_000,
                average_bandwidth: 134_000,
                codecs: "mp4a.40.2".into(),
                resolution: None,
                frame: None,
                audio: None,
                uri: "audio/index.m3u8".into(),
            }],
            i_frames: vec![],
        };
        assert_eq!(
            playlist.render(),
            "\
#EXTM3U
#EXT-X-VERSION:4
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=134000,AVERAGE-BANDWIDTH=134000,CODECS=\"mp4a.40.2\"
audio/index.m3u8
"
        );
    }
}
