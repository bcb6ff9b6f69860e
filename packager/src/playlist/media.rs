//! A media playlist (sections 4.4.2 to 4.4.5).

use std::fmt::Write;
use std::ops::Range;

use timeline::{Span, WallTime};

use super::decimal::{DateTime, Millis, Seconds, SecondsUp};

/// The last line of a playlist to which nothing will be added (4.4.3.4).
pub const END_LIST: &str = "#EXT-X-ENDLIST\n";

/// Fields in the order in which the tags stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u32,
    pub server_control: Option<ServerControl>,
    /// PART-TARGET of EXT-X-PART-INF.
    pub part_target: Option<Span>,
    /// EXT-X-PLAYLIST-TYPE:EVENT: from its start, nothing is ever removed.
    pub event: bool,
    /// EXT-X-I-FRAMES-ONLY: the segments are [`Segment::render_pictures`].
    pub i_frames_only: bool,
    pub media_sequence: u64,
    /// SKIPPED-SEGMENTS of EXT-X-SKIP: a delta update.
    pub skipped_segments: Option<u64>,
    /// URI of EXT-X-MAP: one for the whole playlist. Empty where there is none: WebVTT.
    pub map: String,
    pub segments: Vec<Segment>,
    /// The segment that is not whole yet.
    pub open: Option<Open>,
    /// URI of EXT-X-PRELOAD-HINT:TYPE=PART.
    pub preload_hint: Option<String>,
    pub rendition_reports: Vec<RenditionReport>,
    pub end_list: bool,
}

/// EXT-X-SERVER-CONTROL (4.4.3.8); blocking reload is always offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerControl {
    pub can_skip_until_ms: u32,
    pub hold_back_ms: u32,
    pub part_hold_back_ms: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub turn: Turn,
    pub program_date_time: WallTime,
    /// Listed near the live edge only.
    pub parts: Vec<Part>,
    /// EXT-X-GAP
    pub gap: bool,
    /// EXTINF
    pub duration: Span,
    pub uri: String,
    /// For the I-frame playlist alone.
    pub pictures: Vec<Picture>,
}

/// What is different from a segment on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// EXT-X-DISCONTINUITY: another encoder took over across a hole.
    pub discontinuity: bool,
    /// EXT-X-MAP: another init. By itself it is no discontinuity: times and pictures go on, the decoder only needs
    /// parameter sets that it does not have.
    pub map: Option<String>,
}

/// A picture that needs no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// From the start of its segment.
    pub after: Span,
    /// Where in its segment.
    pub bytes: Range<u64>,
}

/// The parts of a segment that is not whole yet; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// As of the segment.
    pub turn: Turn,
    pub program_date_time: WallTime,
    pub parts: Vec<Part>,
}

/// EXT-X-PART (4.4.4.9)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub duration: Span,
    pub uri: String,
    pub independent: bool,
    pub gap: bool,
}

/// EXT-X-RENDITION-REPORT (4.4.5.4)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    pub uri: String,
    pub last_msn: u64,
    pub last_part: u32,
}

impl Media {
    pub fn render(&self) -> String {
        let mut out = self.head();
        self.segments.iter().for_each(|segment| segment.render(&mut out));
        out.push_str(&self.tail());
        out
    }

    /// All that stands before the first segment.
    pub fn head(&self) -> String {
        let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{}\n", self.version());
        line(
            &mut out,
            format_args!("#EXT-X-TARGETDURATION:{}", self.target_duration),
        );
        if let Some(control) = &self.server_control {
            control.render(&mut out);
        }
        if let Some(target) = self.part_target {
            line(
                &mut out,
                format_args!("#EXT-X-PART-INF:PART-TARGET={}", SecondsUp(target)),
            );
        }
        if self.event {
            out.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
        }
        if self.i_frames_only {
            out.push_str("#EXT-X-I-FRAMES-ONLY\n");
        }
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        line(
            &mut out,
            format_args!("#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence),
        );
        // Always there, as a discontinuity may come one day (authoring specification 8.17); nothing is ever
        // removed, so the first segment's number is 0.
        out.push_str("#EXT-X-DISCONTINUITY-SEQUENCE:0\n");
        if let Some(skipped) = self.skipped_segments {
            line(&mut out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"));
        }
        if !self.map.is_empty() {
            line(&mut out, format_args!("#EXT-X-MAP:URI=\"{}\"", self.map));
        }
        out
    }

    /// All that stands after the last whole segment.
    pub fn tail(&self) -> String {
        let mut out = String::new();
        if let Some(open) = &self.open {
            open.turn.render(&mut out);
            program_date_time(&mut out, open.program_date_time);
            open.parts.iter().for_each(|part| part.render(&mut out));
        }
        if let Some(uri) = &self.preload_hint {
            line(
                &mut out,
                format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{uri}\""),
            );
        }
        self.rendition_reports
            .iter()
            .for_each(|report| report.render(&mut out));
        if self.end_list {
            out.push_str(END_LIST);
        }
        out
    }

    /// The lowest that fits (section 8): EXT-X-MAP needs 6, of I-frames only 5; EXT-X-SKIP needs 9; durations that are no
    /// whole seconds need 3.
    fn version(&self) -> u32 {
        match (&self.skipped_segments, self.i_frames_only) {
            (Some(_), _) => 9,
            (None, true) => 5,
            (None, false) if self.map.is_empty() => 3,
            (None, false) => 6,
        }
    }
}

impl ServerControl {
    fn render(&self, out: &mut String) {
        let (skip, hold) = (Millis(self.can_skip_until_ms), Millis(self.hold_back_ms));
        let part = Millis(self.part_hold_back_ms);
        line(
            out,
            format_args!(
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={skip},HOLD-BACK={hold},PART-HOLD-BACK={part}"
            ),
        );
    }
}

impl Turn {
    fn render(&self, out: &mut String) {
        if self.discontinuity {
            line(out, format_args!("#EXT-X-DISCONTINUITY"));
        }
        if let Some(map) = &self.map {
            line(out, format_args!("#EXT-X-MAP:URI=\"{map}\""));
        }
    }
}

impl Segment {
    pub fn render(&self, out: &mut String) {
        // What applies to the whole segment stands before its first part (4.4.4.9).
        self.turn.render(out);
        program_date_time(out, self.program_date_time);
        self.parts.iter().for_each(|part| part.render(out));
        if self.gap {
            out.push_str("#EXT-X-GAP\n");
        }
        line(
            out,
            format_args!("#EXTINF:{},\n{}", Seconds(self.duration), self.uri),
        );
    }
}

impl Segment {
    /// The entries of an I-frame playlist: each picture stands until the next one, the last until the segment's
    /// end. A segment that is missing, or whose pictures are not known, is a gap here, so that all else stays at
    /// its time.
    pub fn render_pictures(&self, out: &mut String) {
        self.turn.render(out);
        if self.gap || self.pictures.is_empty() {
            program_date_time(out, self.program_date_time);
            let (duration, uri) = (Seconds(self.duration), &self.uri);
            line(out, format_args!("#EXT-X-GAP\n#EXTINF:{duration},\n{uri}"));
            return;
        }
        let ends = self.pictures.iter().skip(1).map(|next| next.after);
        for (picture, end) in self.pictures.iter().zip(ends.chain([self.duration])) {
            program_date_time(out, self.program_date_time + picture.after);
            let Range { start, end: last } = picture.bytes;
            line(
                out,
                format_args!(
                    "#EXTINF:{},\n#EXT-X-BYTERANGE:{}@{start}\n{}",
                    Seconds(end - picture.after),
                    last - start,
                    self.uri
                ),
            );
        }
    }

    /// How many entries of an I-frame playlist it makes.
    pub fn count_pictures(&self) -> u64 {
        match self.gap {
            true => 1,
            false => self.pictures.len().max(1) as u64,
        }
    }
}

impl Part {
    fn render(&self, out: &mut String) {
        let independent = if self.independent { ",INDEPENDENT=YES" } else { "" };
        let gap = if self.gap { ",GAP=YES" } else { "" };
        let duration = Seconds(self.duration);
        line(
            out,
            format_args!(
                "#EXT-X-PART:DURATION={duration},URI=\"{}\"{independent}{gap}",
                self.uri
            ),
        );
    }
}

impl RenditionReport {
    fn render(&self, out: &mut String) {
        let RenditionReport {
            uri,
            last_msn,
            last_part,
        } = self;
        line(
            out,
            format_args!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={last_msn},LAST-PART={last_part}"),
        );
    }
}

fn program_date_time(out: &mut String, at: WallTime) {
    line(out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{}", DateTime(at)));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: WallTime = WallTime::from_unix_millis(1_760_000_000_000);

    fn at(ms: i64) -> WallTime {
        ORIGIN + Span::from_millis(ms)
    }

    fn part(msn: u64, n: u32, independent: bool) -> Part {
        Part {
            duration: Span::from_millis(200),
            uri: format!("{msn}.{n}.m4s"),
            independent,
            gap: false,
        }
    }

    fn segment(msn: u64, parts: Vec<Part>) -> Segment {
        Segment {
            program_date_time: at(msn as i64 * 3200),
            parts,
            duration: Span::from_millis(3200),
            uri: format!("{msn}.m4s"),
            ..Segment::default()
        }
    }

    fn live() -> Media {
        Media {
            target_duration: 3,
            server_control: Some(ServerControl {
                can_skip_until_ms: 18_000,
                hold_back_ms: 9_000,
                part_hold_back_ms: 650,
            }),
            part_target: Some(Span::from_ticks(19_200)),
            event: true,
            media_sequence: 0,
            map: "init-0011223344556677.mp4".into(),
            segments: vec![
                segment(0, vec![]),
                segment(1, vec![part(1, 0, true), part(1, 1, false)]),
            ],
            open: Some(Open {
                turn: Turn::default(),
                program_date_time: at(6400),
                parts: vec![part(2, 0, true)],
            }),
            preload_hint: Some("2.1.m4s".into()),
            rendition_reports: vec![RenditionReport {
                uri: "../audio/index.m3u8".into(),
                last_msn: 2,
                last_part: 0,
            }],
            ..Media::default()
        }
    }

    #[test]
    fn a_live_playlist() {
        assert_eq!(
            live().render(),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:3
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=18.000,HOLD-BACK=9.000,PART-HOLD-BACK=0.650
#EXT-X-PART-INF:PART-TARGET=0.21334
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init-0011223344556677.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:20.000Z
#EXTINF:3.20000,
0.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:23.200Z
#EXT-X-PART:DURATION=0.20000,URI=\"1.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.20000,URI=\"1.1.m4s\"
#EXTINF:3.20000,
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:26.400Z
#EXT-X-PART:DURATION=0.20000,URI=\"2.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=2,LAST-PART=0
"
        );
    }

    #[test]
    fn a_delta_update() {
        let mut delta = live();
        delta.skipped_segments = Some(1);
        delta.segments.remove(0);
        assert_eq!(
            delta.render(),
            "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:3
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=18.000,HOLD-BACK=9.000,PART-HOLD-BACK=0.650
#EXT-X-PART-INF:PART-TARGET=0.21334
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-SKIP:SKIPPED-SEGMENTS=1
#EXT-X-MAP:URI=\"init-0011223344556677.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:23.200Z
#EXT-X-PART:DURATION=0.20000,URI=\"1.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.20000,URI=\"1.1.m4s\"
#EXTINF:3.20000,
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:26.400Z
#EXT-X-PART:DURATION=0.20000,URI=\"2.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=2,LAST-PART=0
"
        );
    }

    #[test]
    fn an_ended_playlist_with_a_hole() {
        let hole = Segment {
            gap: true,
            ..segment(4, vec![])
        };
        let tail = Segment {
            duration: Span::from_ticks(40_320),
            ..segment(5, vec![])
        };
        let ended = Media {
            target_duration: 3,
            event: true,
            media_sequence: 4,
            map: "init-0011223344556677.mp4".into(),
            segments: vec![hole, tail],
            end_list: true,
            ..Media::default()
        };
        assert_eq!(
            ended.render(),
            "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:3
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:4
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init-0011223344556677.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:32.800Z
#EXT-X-GAP
#EXTINF:3.20000,
4.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:36.000Z
#EXTINF:0.44800,
5.m4s
#EXT-X-ENDLIST
"
        );
    }

    #[test]
    fn i_frames() {
        let picture = |ms, bytes| Picture {
            after: Span::from_millis(ms),
            bytes,
        };
        let whole = Segment {
            pictures: vec![picture(0, 24..5_024), picture(1_600, 90_000..94_321)],
            ..segment(0, vec![])
        };
        let hole = Segment {
            gap: true,
            ..segment(1, vec![])
        };
        let tail = Segment {
            pictures: vec![picture(0, 24..4_024)],
            duration: Span::from_millis(800),
            ..segment(2, vec![])
        };
        let head = Media {
            i_frames_only: true,
            part_target: None,
            map: "init-0011223344556677.mp4".into(),
            ..live()
        }
        .head();
        let all = [whole, hole, tail];
        let text = all.iter().fold(head, |mut text, segment| {
            segment.render_pictures(&mut text);
            text
        });
        assert_eq!(
            text,
            "\
#EXTM3U
#EXT-X-VERSION:5
#EXT-X-TARGETDURATION:3
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=18.000,HOLD-BACK=9.000,PART-HOLD-BACK=0.650
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-I-FRAMES-ONLY
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init-0011223344556677.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:20.000Z
#EXTINF:1.60000,
#EXT-X-BYTERANGE:5000@24
0.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:21.600Z
#EXTINF:1.60000,
#EXT-X-BYTERANGE:4321@90000
0.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:23.200Z
#EXT-X-GAP
#EXTINF:3.20000,
1.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-10-09T08:53:26.400Z
#EXTINF:0.80000,
#EXT-X-BYTERANGE:4000@24
2.m4s
"
        );
        assert_eq!(all.map(|segment| segment.count_pictures()), [2, 1, 1]);
    }
}
