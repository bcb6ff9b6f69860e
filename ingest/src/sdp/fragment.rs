use super::{attribute, is_line, is_reachable};

/// `application/trickle-ice-sdpfrag` (RFC 8840 §9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub ufrag: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
