//! What a path below `/broadcasts/{id}/` names.

use timeline::PartIndex;

use crate::storyboard;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `index.m3u8`
    Multivariant,
    /// `audio.m3u8`
    AudioOnly,
    /// `recording.mp4`
    Recording,
    /// `{rendition}/index.m3u8`
    Playlist(&'a str),
    /// `{rendition}/iframes.m3u8`
    IFrames(&'a str),
    /// `{rendition}/init-{hash}.mp4`
    Init(&'a str, &'a str),
    /// `{rendition}/{msn}.m4s`
    Segment(&'a str, u64),
    /// `{rendition}/{msn}.{part}.m4s`
    Part(&'a str, PartIndex),
    /// `{folder}/{msn}.vtt`
    Text(&'a str, u64),
    /// `thumbs/storyboard.vtt`
    Storyboard,
    /// `thumbs/{msn}.jpg`
    Still(u64),
    /// Anything else, which only the archive can know.
    File,
}

impl Resource<'_> {
    pub fn of(path: &str) -> Resource<'_> {
        match path.split_once('/') {
            None if path == "index.m3u8" => Resource::Multivariant,
            None if path == "audio.m3u8" => Resource::AudioOnly,
            None if path == "recording.mp4" => Resource::Recording,
            Some((storyboard::FOLDER, name)) => Self::in_storyboard(name),
            Some((rendition, name)) if !name.contains('/') => Self::in_rendition(rendition, name),
            _ => Resource::File,
        }
    }

    fn in_storyboard<'a>(name: &str) -> Resource<'a> {
        if name == storyboard::STORYBOARD {
            return Resource::Storyboard;
        }
        let msn = name.strip_suffix(".jpg").and_then(number);
        msn.map_or(Resource::File, Resource::Still)
    }

    fn in_rendition<'a>(rendition: &'a str, name: &'a str) -> Resource<'a> {
        if name == "index.m3u8" {
            return Resource::Playlist(rendition);
        }
        if name == "iframes.m3u8" {
            return Resource::IFrames(rendition);
        }
        if name.starts_with("init-") && name.ends_with(".mp4") {
            return Resource::Init(rendition, name);
        }
        if let Some(msn) = name.strip_suffix(".vtt").and_then(number) {
            return Resource::Text(rendition, msn);
        }
        let Some(numbers) = name.strip_suffix(".m4s") else {
            return Resource::File;
        };
        let found = match numbers.split_once('.') {
            None => number(numbers).map(|msn| Resource::Segment(rendition, msn)),
            Some((msn, part)) => number(msn)
                .zip(number(part))
                .map(|(msn, part)| Resource::Part(rendition, PartIndex { msn, part })),
        };
        found.unwrap_or(Resource::File)
    }
}

/// A number as we write it, so that each object has one name only.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let part = |msn, part| PartIndex { msn, part };
        for (path, resource) in [
            ("index.m3u8", Resource::Multivariant),
            ("audio.m3u8", Resource::AudioOnly),
            ("recording.mp4", Resource::Recording),
            ("720p/index.m3u8", Resource::Playlist("720p")),
            ("720p/iframes.m3u8", Resource::IFrames("720p")),
            ("720p/init-0a1b.mp4", Resource::Init("720p", "init-0a1b.mp4")),
            ("720p/0.m4s", Resource::Segment("720p", 0)),
            ("720p/17.m4s", Resource::Segment("720p", 17)),
            ("audio/17.3.m4s", Resource::Part("audio", part(17, 3))),
            ("audio/17.03.m4s", Resource::File),
            ("audio/+1.m4s", Resource::File),
            ("audio/99999999999999999999.m4s", Resource::File),
            ("audio/1.2.3.m4s", Resource::File),
            ("thumbs/storyboard.vtt", Resource::Storyboard),
            ("thumbs/17.jpg", Resource::Still(17)),
            ("thumbs/017.jpg", Resource::File),
            ("thumbs/x.vtt", Resource::File),
            ("thumbs/17.vtt", Resource::File),
            ("chat/17.vtt", Resource::Text("chat", 17)),
            ("chat/017.vtt", Resource::File),
            ("broadcast.json", Resource::File),
            ("files/a/b.pdf", Resource::File),
            ("", Resource::File),
        ] {
            assert_eq!(Resource::of(path), resource, "{path}");
        }
    }
}
