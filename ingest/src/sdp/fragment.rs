use super::{Candidates, attribute, is_line, is_reachable, value};

/// `application/trickle-ice-sdpfrag` (RFC 8840 §9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub ufrag: Option<String>,
    pub password: Option<String>,
    /// Candidates that can be reached, with the mid they stand under. Others are ignored (RFC 9725 §4.3.1).
    pub candidates: Vec<(String, String)>,
}

/// More in one fragment serve nobody.
const MAX_CANDIDATES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAFragment;

impl Fragment {
    pub fn parse(text: &str) -> Result<Fragment, NotAFragment> {
        let mut fragment = Fragment::default();
        let mut mid = "";
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if !is_line(line) {
                return Err(NotAFragment);
            }
            if let Some(ufrag) = attribute(line, "ice-ufrag") {
                fragment.ufrag = Some(ufrag.to_owned());
            } else if let Some(password) = attribute(line, "ice-pwd") {
                fragment.password = Some(password.to_owned());
            } else if let Some(value) = attribute(line, "mid") {
                mid = value;
            } else if let Some(candidate) = attribute(line, "candidate")
                && is_reachable(candidate)
                && fragment.candidates.len() < MAX_CANDIDATES
            {
                fragment
                    .candidates
                    .push((mid.to_owned(), format!("candidate:{candidate}")));
            }
        }
        Ok(fragment)
    }
}

/// RFC 8839 §5.4: 4 to 256 and 22 to 256 of these characters.
pub(crate) fn are_credentials(ufrag: &str, password: &str) -> bool {
    let are = |text: &str, least| {
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
        (least..=256).contains(&text.len()) && text.bytes().all(legal)
    };
    are(ufrag, 4) && are(password, 22)
}

/// A description whose side goes by other ICE credentials from now on. Its candidates were those of before.
pub(crate) fn renamed(sdp: &str, ufrag: &str, password: &str) -> String {
    let mut renamed = String::with_capacity(sdp.len());
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if attribute(line, "candidate").is_some() || line == "a=end-of-candidates" {
            continue;
        }
        if attribute(line, "ice-ufrag").is_some() {
            renamed += &format!("a=ice-ufrag:{ufrag}\r\n");
        } else if attribute(line, "ice-pwd").is_some() {
            renamed += &format!("a=ice-pwd:{password}\r\n");
        } else {
            renamed += line;
            renamed += "\r\n";
        }
    }
    renamed
}

/// What a publisher asks for a restart with (RFC 9725 §4.3.3): the credentials and candidates of its new offer.
pub(crate) fn fragment_of(offer: &str) -> String {
    let first = |name: &str| {
        offer
            .lines()
            .map(str::trim_end)
            .find(move |line| line.starts_with(name))
    };
    let candidates = offer.lines().map(str::trim_end);
    let candidates = candidates.filter(|line| attribute(line, "candidate").is_some());
    ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"]
        .into_iter()
        .filter_map(first)
        .chain(candidates)
        .chain(["a=end-of-candidates"])
        .map(|line| format!("{line}\r\n"))
        .collect()
}

/// What a restart is answered with (RFC 9725 §4.3.3): our credentials and candidates, under the first section of the offer,
/// which stands for the whole bundle.
pub(crate) fn restarted(
    offer: &str,
    (ufrag, password): &(String, String),
    candidates: &Candidates,
) -> String {
    let kind = offer
        .lines()
        .find_map(|line| line.strip_prefix("m=")?.split(' ').next());
    let group = value(offer, "group").map(|group| format!("a=group:{group}\r\n"));
    let mid = value(offer, "mid").map(|mid| format!("a=mid:{mid}\r\n"));
    format!(
        "a=ice-options:ice2\r\n{}m={} 9 UDP/TLS/RTP/SAVPF 0\r\n{}a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n{}",
        group.unwrap_or_default(),
        kind.unwrap_or("audio"),
        mid.unwrap_or_default(),
        candidates.lines(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_restart_changes_names_alone() {
        let offer = "v=0\r\na=ice-ufrag:old1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=ice-pwd:old\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\na=rtpmap:111 opus/48000/2\r\n";
        assert_eq!(
            renamed(offer, "new1", "secret"),
            "v=0\r\na=ice-ufrag:new1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=ice-pwd:secret\r\n\
             a=rtpmap:111 opus/48000/2\r\n"
        );
        let password = "x".repeat(22);
        assert!(are_credentials("AbC/", &password));
        for (ufrag, password) in [
            ("AbC", &password),
            ("Ab C", &password),
            ("AbCd", &password[1..].to_owned()),
        ] {
            assert!(!are_credentials(ufrag, password));
        }
    }

    #[test]
    fn candidates_stand_under_their_mid() {
        let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
            a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
            a=candidate:3471623853 1 udp 2122194687 a9.local 61765 typ host\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(text).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        let candidate = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1";
        assert_eq!(fragment.candidates, [("0".to_owned(), candidate.to_owned())]);
        assert_eq!(Fragment::parse("{\"candidate\":1}"), Err(NotAFragment));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(a=|m=|candidate:|[ -~]){0,40}") {
            let _ = Fragment::parse(&text);
        }
    }
}
