//! What was said in a room, as a file for staff: lines of JSON, a table, subtitles, plain text.
//!
//! Events come as staff see them. JSON and the table hold all of them that say something, in the order of the room;
//! subtitles and text hold what everyone could read, by position: they are handed on.

mod routes;

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use timeline::{MediaTime, Span, WallTime};

use crate::event::{Audience, Poll, Text};
use crate::subtitles::{Escaped, Timestamp, Voice};
use crate::{Event, Kind};

pub(crate) use routes::router;

/// How long a text stands as a subtitle: two seconds to see it, and to read it 15 characters a second.
const LEAST: Span = Span::from_millis(2_000);
const CHARACTER: Span = Span::from_millis(67);
const MOST: Span = Span::from_millis(10_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Each event on a line, as on the wire.
    Ndjson,
    /// RFC 4180, in UTF-8 with a byte order mark, without which spreadsheets take it for something else.
    Csv,
    /// WebVTT.
    Vtt,
    Txt,
}

impl Format {
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Vtt => "text/vtt; charset=utf-8",
            Format::Txt => "text/plain; charset=utf-8",
        }
    }

    pub const fn extension(self) -> &'static str {
        match self {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            Format::Vtt => "vtt",
            Format::Txt => "txt",
        }
    }

    /// Ordered by (`at`, `seq`), and only what everyone could read; else by `seq`, and all.
    pub const fn by_position(self) -> bool {
        matches!(self, Format::Vtt | Format::Txt)
    }

    /// What stands before the first event.
    pub const fn head(self) -> &'static str {
        match self {
            Format::Ndjson | Format::Txt => "",
            Format::Csv => {
                "\u{FEFF}seq,position,sent,author_id,author,role,kind,audience,to,reply_to,body,files\r\n"
            }
            Format::Vtt => "WEBVTT\n",
        }
    }

    /// One event; nothing where the format has no place for it.
    pub fn write(self, out: &mut String, event: &Event) {
        match (self, &event.kind) {
            // Maps with string keys and plain numbers only: this cannot fail.
            (Format::Ndjson, _) => {
                out.push_str(&serde_json::to_string(event).unwrap_or_default());
                out.push('\n');
            }
            (Format::Csv, _) => {
                if let Some(cells) = row(event) {
                    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
                    out.push_str(&cells.join(","));
                    out.push_str("\r\n");
                }
            }
            (Format::Vtt, Kind::Text(Text { body: Some(body), .. })) if !body.trim().is_empty() => {
                cue(out, event, body)
            }
            (Format::Txt, Kind::Text(Text { body: Some(body), .. })) => {
                let (position, name) = (Timestamp(event.at()), name(event));
                // A String takes whatever it is given.
                let _ = writeln!(out, "[{position}] {name}: {}", body.replace('\n', "\n    "));
            }
            _ => {}
        }
    }
}

fn name(event: &Event) -> String {
    let author = event.author.as_ref().map_or("", |author| &author.name);
    author.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cue(out: &mut String, event: &Event, body: &str) {
    // A blank line would end the cue.
    let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
    let body = Escaped(lines.collect::<Vec<_>>().join("\n"));
    let name = name(event);
    let length = LEAST + CHARACTER.times(body.0.chars().count() as i64);
    let (begins, ends) = (Timestamp(event.at()), Timestamp(event.at() + length.min(MOST)));
    let _ = writeln!(
        out,
        "\n{}\n{begins} --> {ends}\n{}{body}",
        event.seq,
        Voice(&name)
    );
}

/// The cells of an event in the table.
fn row(event: &Event) -> Option<[String; 12]> {
    let (kind, body, text) = match &event.kind {
        Kind::Text(text) => (kind(text), text.body.clone()?, Some(text)),
        Kind::Poll(Poll {
            question, options, ..
        }) => ("poll", format!("{question}: {}", options.join(" | ")), None),
        Kind::Close { counts, voters, .. } => {
            let counts: Vec<String> = counts.iter().map(u32::to_string).collect();
            ("close", format!("{} ({voters} voters)", counts.join(" | ")), None)
        }
        _ => return None,
    };
    let author = event.author.as_ref();
    let files = text.into_iter().flat_map(|text| &text.files);
    let files: Vec<String> = files.map(|file| format!("{} ({})", file.name, file.id)).collect();
    let audience = match event.audience {
        Audience::Everyone => "everyone",
        Audience::Staff | Audience::StaffAnd(_) => "staff",
        Audience::Nobody => return None,
    };
    Some([
        event.seq.to_string(),
        Timestamp(event.at()).to_string(),
        date(event.sent),
        author.map_or(String::new(), |author| author.id.clone()),
        author.map_or(String::new(), |author| author.name.clone()),
        author.map_or(String::new(), |author| author.role.name().to_owned()),
        kind.to_owned(),
        audience.to_owned(),
        text.and_then(|text| text.to.clone()).unwrap_or_default(),
        text.and_then(|text| text.reply_to)
            .map_or(String::new(), |seq| seq.to_string()),
        body,
        files.join(", "),
    ])
}

const fn kind(text: &Text) -> &'static str {
    match text {
        Text { held: Some(_), .. } => "held",
        Text { question: true, .. } => "question",
        Text {
            announcement: true, ..
        } => "announcement",
        _ => "text",
    }
}

/// ISO 8601, in UTC.
fn date(at: WallTime) -> String {
    let date = DateTime::from_timestamp_millis(at.unix_millis());
    date.map_or(String::new(), |date| {
        date.to_rfc3339_opts(SecondsFormat::Millis, true)
    })
}

/// A cell that is text whatever stands in it: what spreadsheets would take for a formula begins with an apostrophe.
fn quoted(cell: &str) -> String {
    let is_formula = cell
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || cell.starts_with(['\t', '\r', '\n']);
    let apostrophe = if is_formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", cell.replace('"', "\"\""))
}

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    pub at: MediaTime,
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attached, Person, Role};
    use timeline::{Stamp, StampSource};

    fn event(seq: u64, ms: i64, name: &str, kind: Kind) -> Event {
        Event {
            seq,
            stamp: Stamp {
                at: MediaTime::ZERO + Span::from_millis(ms),
                source: StampSource::Playhead,
            },
            sent: WallTime::from_unix_millis(1_760_000_000_123),
            author: Some(Person {
                id: format!("p-{name}"),
                name: name.into(),
                role: Role::Participant,
            }),
            audience: Audience::Everyone,
            kind,
        }
    }

    fn text(body: &str) -> Kind {
        Kind::Text(Text {
            body: Some(body.into()),
            ..Text::default()
        })
    }

    fn export(format: Format, events: &[Event]) -> String {
        let mut out = format.head().to_owned();
        for event in events {
            format.write(&mut out, event);
        }
        out
    }

    fn some() -> Vec<Event> {
        let question = Kind::Text(Text {
            body: Some("Is x_1 < x_2?\n\nOr \"not\"?".into()),
            question: true,
            reply_to: Some(7),
            files: vec![Attached {
                id: "ab.png".into(),
                name: "sketch.png".into(),
                media_type: "image/png".into(),
                size: 1,
            }],
            ..Text::default()
        });
        let deleted = Kind::Text(Text::default());
        vec![
            event(1, 13_717, "Ana", question),
            event(2, 14_000, "=cmd()", text("=1+1")),
            event(3, 15_000, "Bo", deleted),
            event(4, 3_723_500, "Bo", text("a --> b & </v>")),
        ]
    }

    #[test]
    fn lines_of_json() {
        let out = export(Format::Ndjson, &some());
        let lines: Vec<serde_json::Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0]["body"], "Is x_1 < x_2?\n\nOr \"not\"?");
        assert_eq!(lines[2]["deleted"], true);
    }

    #[test]
    fn a_table() {
        let out = export(Format::Csv, &some());
        assert_eq!(
            out,
            "\u{FEFF}seq,position,sent,author_id,author,role,kind,audience,to,reply_to,body,files\r\n\
             \"1\",\"00:00:13.717\",\"2025-10-09T08:53:20.123Z\",\"p-Ana\",\"Ana\",\"participant\",\"question\",\
             \"everyone\",\"\",\"7\",\"Is x_1 < x_2?\n\nOr \"\"not\"\"?\",\"sketch.png (ab.png)\"\r\n\
             \"2\",\"00:00:14.000\",\"2025-10-09T08:53:20.123Z\",\"p-=cmd()\",\"'=cmd()\",\"participant\",\"text\",\
             \"everyone\",\"\",\"\",\"'=1+1\",\"\"\r\n\
             \"4\",\"01:02:03.500\",\"2025-10-09T08:53:20.123Z\",\"p-Bo\",\"Bo\",\"participant\",\"text\",\
             \"everyone\",\"\",\"\",\"a --> b & </v>\",\"\"\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1"] {
            assert!(quoted(cell).starts_with("\"'"), "{cell:?}");
        }
        for cell in ["1", "x = 1", "a@b.test", "", "'quoted'"] {
            assert_eq!(quoted(cell), format!("\"{cell}\""));
        }
    }

    #[test]
    fn subtitles() {
        assert_eq!(
            export(Format::Vtt, &some()),
            "WEBVTT\n\n\
             1\n00:00:13.717 --> 00:00:17.258\n<v Ana>Is x_1 &lt; x_2?\nOr \"not\"?\n\n\
             2\n00:00:14.000 --> 00:00:16.268\n<v =cmd()>=1+1\n\n\
             4\n01:02:03.500 --> 01:02:06.438\n<v Bo>a --&gt; b &amp; &lt;/v&gt;\n"
        );
    }

    #[test]
    fn plain_text() {
        assert_eq!(
            export(Format::Txt, &some()),
            "[00:00:13.717] Ana: Is x_1 < x_2?\n    \n    Or \"not\"?\n\
             [00:00:14.000] =cmd(): =1+1\n\
             [01:02:03.500] Bo: a --> b & </v>\n"
        );
    }
}
