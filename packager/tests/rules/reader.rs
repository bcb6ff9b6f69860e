//! A playlist as `quick-m3u8` reads it.

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::tag::hls::{EnumeratedString, PreloadHintType, Tag};
use quick_m3u8::{HlsLine, Reader};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playlist {
    pub text: String,
    pub version: u64,
    pub target_duration: u64,
    pub control: Option<Control>,
    pub part_target: Option<f64>,
    pub event: bool,
    pub i_frames_only: bool,
    pub media_sequence: Option<u64>,
    pub discontinuity_sequence: Option<u64>,
    pub skipped: u64,
    pub map: String,
    pub segments: Vec<Segment>,
    /// What is listed of the segment that is not whole.
    pub open: Segment,
    /// Preload hints for parts; any other is an error.
    pub hints: Vec<String>,
    pub reports: Vec<Report>,
    pub ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    pub can_skip_until: f64,
    pub hold_back: f64,
    pub part_hold_back: f64,
    pub can_block_reload: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Milliseconds after midnight of 9 October 2025, the day of the origin.
    pub date: Option<i64>,
    pub parts: Vec<Part>,
    pub gap: bool,
    pub duration: f64,
    /// Length and offset.
    pub range: Option<(u64, u64)>,
    pub uri: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub duration: f64,
    pub uri: String,
    pub independent: bool,
    pub gap: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub uri: String,
    pub last: (u64, u64),
}

impl Playlist {
    /// Panics at anything that is not understood or stands where it must not.
    pub fn read(text: &str) -> Playlist {
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut lines = Reader::from_str(text, options);
        let mut playlist = Playlist {
            text: text.to_owned(),
            ..Playlist::default()
        };
        while let Some(line) = lines.read_line().unwrap() {
            match line {
                HlsLine::KnownTag(KnownTag::Hls(tag)) => playlist.tag(tag),
                HlsLine::Uri(uri) => {
                    playlist.open.uri = uri.to_string();
                    playlist.segments.push(std::mem::take(&mut playlist.open));
                }
                other => panic!("{other:?} in\n{text}"),
            }
        }
        playlist
    }

    fn tag(&mut self, tag: Tag<'_>) {
        let open = &mut self.open;
        match tag {
            Tag::M3u(_) | Tag::IndependentSegments(_) => {}
            Tag::Version(tag) => self.version = tag.version(),
            Tag::Targetduration(tag) => self.target_duration = tag.target_duration(),
            Tag::ServerControl(tag) => {
                self.control = Some(Control {
                    can_skip_until: tag.can_skip_until().unwrap(),
                    hold_back: tag.hold_back().unwrap(),
                    part_hold_back: tag.part_hold_back().unwrap(),
                    can_block_reload: tag.can_block_reload(),
                })
            }
            Tag::PartInf(tag) => self.part_target = Some(tag.part_target()),
            Tag::PlaylistType(tag) => {
                self.event = tag.playlist_type() == quick_m3u8::tag::HlsPlaylistType::Event
            }
            Tag::IFramesOnly(_) => self.i_frames_only = true,
            Tag::MediaSequence(tag) => self.media_sequence = Some(tag.media_sequence()),
            Tag::DiscontinuitySequence(tag) => {
                assert!(self.segments.is_empty());
                self.discontinuity_sequence = Some(tag.discontinuity_sequence());
            }
            Tag::Skip(tag) => {
                assert!(self.segments.is_empty() && self.skipped == 0);
                self.skipped = tag.skipped_segments();
            }
            Tag::Map(tag) => {
                // One for the whole playlist, before its first segment and part.
                assert!(self.map.is_empty() && self.segments.is_empty() && open.parts.is_empty());
                self.map = tag.uri().to_owned();
            }
            Tag::ProgramDateTime(tag) => {
                // Before the first part of its segment (4.4.4.9).
                assert!(open.parts.is_empty() && open.date.is_none());
                open.date = Some(milliseconds(&tag));
            }
            Tag::Part(tag) => {
                assert!(tag.byterange().is_none());
                open.parts.push(Part {
                    duration: tag.duration(),
                    uri: tag.uri().to_owned(),
                    independent: tag.independent(),
                    gap: tag.gap(),
                });
            }
            Tag::Gap(_) => open.gap = true,
            Tag::Inf(tag) => open.duration = tag.duration(),
            Tag::Byterange(tag) => open.range = Some((tag.length(), tag.offset().unwrap())),
            Tag::PreloadHint(tag) => {
                assert!(tag.hint_type() == EnumeratedString::Known(PreloadHintType::Part));
                self.hints.push(tag.uri().to_owned());
            }
            Tag::RenditionReport(tag) => self.reports.push(Report {
                uri: tag.uri().to_owned(),
                last: (tag.last_msn(), tag.last_part().unwrap()),
            }),
            Tag::Endlist(_) => self.ended = true,
            // DATERANGE, DISCONTINUITY, KEY and all else.
            other => panic!("{other:?} in\n{}", self.text),
        }
    }

    /// All parts listed, with the segments they belong to.
    pub fn parts(&self) -> impl Iterator<Item = (&Segment, &Part)> {
        let all = self.segments.iter().chain([&self.open]);
        all.flat_map(|segment| segment.parts.iter().map(move |part| (segment, part)))
    }

    /// The newest part: MSN and part index.
    pub fn last(&self) -> (u64, u64) {
        numbers(&self.parts().last().unwrap().1.uri)
    }
}

fn milliseconds(tag: &quick_m3u8::tag::hls::ProgramDateTime<'_>) -> i64 {
    let date = tag.program_date_time();
    assert_eq!(
        (date.date_fullyear, date.date_month, date.date_mday),
        (2025, 10, 9)
    );
    let minutes = i64::from(date.time_hour) * 60 + i64::from(date.time_minute);
    minutes * 60_000 + (date.time_second * 1_000.0).round() as i64
}

/// `7.3.m4s`
pub fn numbers(part: &str) -> (u64, u64) {
    let mut numbers = part.split('.');
    let mut next = || numbers.next().unwrap().parse().unwrap();
    (next(), next())
}
