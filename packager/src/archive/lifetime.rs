//! How long a copy of an object is good, by its key: the same for the origin, for the bucket and so for a CDN before
//! either.

use crate::origin::{Cache, ENDED, Resource, STORYBOARD, TEXTS};
use crate::playlist::END_LIST;

/// Texts that tell what there is: playlists, indexes, facts. They are written again and again, and lead to objects
/// that must be there before them.
pub(crate) fn is_pointer(key: &str) -> bool {
    let extension = key.rsplit_once('.').map_or("", |(_, extension)| extension);
    let path = path(key);
    matches!(extension, "m3u8" | "vtt" | "json") && !is_replay_chunk(path) && !is_text_segment(path)
}

/// `{broadcast}/broadcast.json`: that there is such a broadcast.
pub(crate) fn is_facts(key: &str) -> bool {
    path(key) == "broadcast.json"
}

/// Segments and inits.
pub(crate) fn is_media(key: &str) -> bool {
    matches!(
        Resource::of(path(key)),
        Resource::Init(..) | Resource::Segment(..)
    )
}

/// Whether a playlist is final.
pub(crate) fn is_ended(playlist: &[u8]) -> bool {
    playlist.ends_with(END_LIST.as_bytes())
}

/// `key` is a whole key: `{broadcast}/{path}`.
pub(crate) fn lifetime(key: &str, body: &[u8]) -> Cache {
    let path = path(key);
    match Resource::of(path) {
        Resource::Init(..) | Resource::Segment(..) | Resource::Still(_) => Cache::YEAR,
        Resource::Storyboard => STORYBOARD,
        Resource::Text(..) => TEXTS,
        Resource::Multivariant | Resource::AudioOnly => Cache::Seconds(2),
        _ if is_replay_chunk(path) => Cache::YEAR,
        _ if is_ended(body) => ENDED,
        _ => Cache::Seconds(1),
    }
}

/// A key without its broadcast.
fn path(key: &str) -> &str {
    key.split_once('/').map_or("", |(_, path)| path)
}

/// It is written again when its texts change, but leads nowhere, and playlists lead to it.
fn is_text_segment(path: &str) -> bool {
    matches!(Resource::of(path), Resource::Text(..))
}

/// `chat/{n}.{hash}.json`; `chat/index.json` lists them.
fn is_replay_chunk(path: &str) -> bool {
    let name = path
        .strip_prefix("chat/")
        .and_then(|name| name.strip_suffix(".json"));
    name.and_then(|name| name.split_once('.'))
        .is_some_and(|(n, hash)| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()) && !hash.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_key_and_by_end() {
        for (key, body, cache, pointer) in [
            ("a/720p/17.m4s", "", Cache::YEAR, false),
            ("a/720p/init-0a1b.mp4", "", Cache::YEAR, false),
            ("a/chat/3.9f8e.json", "[]", Cache::YEAR, false),
            ("a/thumbs/17.jpg", "", Cache::YEAR, false),
            ("a/chat/17.vtt", "WEBVTT\n", TEXTS, false),
            ("a/chat/index.m3u8", "#EXTM3U\n", Cache::Seconds(1), true),
            ("a/thumbs/storyboard.vtt", "WEBVTT\n", STORYBOARD, true),
            ("a/720p/iframes.m3u8", "#EXTM3U\n#EXT-X-ENDLIST\n", ENDED, true),
            ("a/chat/index.json", "{}", Cache::Seconds(1), true),
            ("a/broadcast.json", "{}", Cache::Seconds(1), true),
            ("a/index.m3u8", "#EXTM3U\n", Cache::Seconds(2), true),
            ("a/audio.m3u8", "#EXTM3U\n", Cache::Seconds(2), true),
            ("a/720p/index.m3u8", "#EXTM3U\n0.m4s\n", Cache::Seconds(1), true),
            (
                "a/720p/index.m3u8",
                "#EXTM3U\n0.m4s\n#EXT-X-ENDLIST\n",
                ENDED,
                true,
            ),
            ("a/files/slides.pdf", "", Cache::Seconds(1), false),
        ] {
            assert_eq!(lifetime(key, body.as_bytes()), cache, "{key}");
            assert_eq!(is_pointer(key), pointer, "{key}");
        }
    }
}
