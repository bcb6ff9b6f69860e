//! The policy on links: none, those of some hosts, all.
//!
//! What is judged is more than what a player makes clickable: a player makes links only of `http://` and `https://`,
//! wherever they stand in the text; here other schemes, `www.` and bare names of sites count too. The host is the one
//! that a browser would go to (the URL Standard's parser, as in the player): `https://good.edu@evil.test` is
//! evil.test.

use linkify::{LinkFinder, LinkKind};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use url::{Host, Url};

use super::filter::{FilterError, Reason, Verdict};
use super::sites::is_site;

/// A school and those it works with.
const MAX_HOSTS: usize = 200;

/// Schemes that are no place to go to. Written out they count as links that no list of hosts allows; no player makes
/// them clickable.
const SCRIPTS: [&str; 4] = ["javascript:", "vbscript:", "data:", "blob:"];

/// Which links may be said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    Off,
    /// Those to these hosts and to all below them: `example.edu` allows `www.example.edu`, not `notexample.edu`.
    AllowList(Vec<String>),
    #[default]
    On,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Policy {
    Off,
    Hosts(Vec<Host>),
    #[default]
    On,
}

/// Where a link in a text leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Web(Host),
    /// By another scheme, or nowhere.
    Other,
}

impl Policy {
    pub fn compile(links: &Links) -> Result<Policy, FilterError> {
        match links {
            Links::Off => Ok(Policy::Off),
            Links::On => Ok(Policy::On),
            Links::AllowList(hosts) if hosts.len() > MAX_HOSTS => Err(FilterError::TooManyHosts {
                count: hosts.len(),
                max: MAX_HOSTS,
            }),
            Links::AllowList(hosts) => {
                let parsed = hosts.iter().enumerate().map(|(index, host)| {
                    let bad = FilterError::NotAHost { position: index + 1 };
                    listed(host).ok_or(bad)
                });
                Ok(Policy::Hosts(parsed.collect::<Result<_, _>>()?))
            }
        }
    }

    pub fn verdict(&self, body: &str) -> Verdict {
        let refused = match self {
            Policy::On => None,
            Policy::Off => targets(body).next().map(|_| "links are not allowed in this room"),
            Policy::Hosts(hosts) => {
                let allows = |target: &Target| match target {
                    Target::Web(host) => hosts.iter().any(|listed| covers(listed, host)),
                    Target::Other => false,
                };
                targets(body)
                    .find(|target| !allows(target))
                    .map(|_| "only links to some sites are allowed in this room")
            }
        };
        match refused {
            Some(message) => Verdict::Reject(Reason {
                code: "link",
                message,
            }),
            None => Verdict::Allow,
        }
    }
}

/// An entry of the list: a host, perhaps written `*.example.edu`, which means the same.
fn listed(entry: &str) -> Option<Host> {
    let entry = entry.trim();
    let entry = entry.strip_prefix("*.").unwrap_or(entry);
    let host = Host::parse(entry.trim_start_matches('.')).ok()?;
    // The parser takes about anything for a name.
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    match host {
        Host::Domain(name) => Some(Host::Domain(without_root(&name).to_owned())).filter(|_| is_name(&name)),
        address => Some(address),
    }
}

/// A name covers itself and what is below it. (Both are lower-case and in Punycode.)
fn covers(listed: &Host, host: &Host) -> bool {
    match (listed, host) {
        (Host::Domain(listed), Host::Domain(host)) => {
            let rest = without_root(host).strip_suffix(listed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        (listed, host) => listed == host,
    }
}

fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Where all links in a text lead: as it stands, and as its compatibility forms are read.
fn targets(body: &str) -> impl Iterator<Item = Target> {
    let folded: String = body.nfkc().collect();
    let readings = match folded == body {
        true => vec![folded],
        false => vec![body.to_owned(), folded],
    };
    readings.into_iter().flat_map(|text| {
        let mut targets = addresses(&text);
        targets.extend(sites(&text));
        targets.extend(scripts(&text));
        targets
    })
}

/// Every `http://` and `https://`, wherever it stands: what a player makes clickable, and perhaps more.
fn addresses(text: &str) -> Vec<Target> {
    // Only ASCII changes its case: all positions stay.
    let lower = text.to_ascii_lowercase();
    let schemes = lower.match_indices("http").map(|(start, _)| start);
    let starts = schemes.filter(|&start| {
        let rest = &lower[start..];
        rest.starts_with("http://") || rest.starts_with("https://")
    });
    starts.flat_map(|start| web(&text[start..])).collect()
}

/// Where the address at the beginning of a text leads, wherever a player ends it. What no browser could open is no link.
fn web(text: &str) -> Vec<Target> {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"');
    let whole = &text[..text.find(is_end).unwrap_or(text.len())];
    let host = |address| Some(Url::parse(address).ok()?.host()?.to_owned());
    // Bold, code or a formula may end in it: before the host is told, that makes another address of it.
    let authority = whole.find("://").map_or(0, |scheme| scheme + 3);
    let path = whole[authority..]
        .find(['/', '?', '#', '\\'])
        .map_or(whole.len(), |path| authority + path);
    let cuts = whole[authority..path]
        .match_indices(is_markup)
        .map(|(at, _)| whole[..authority + at].trim_end_matches(is_mark));
    // The host is the same wherever in its path an address ends; at its own end stand the marks of the sentence.
    let bare = host(whole.trim_end_matches(is_mark)).or_else(|| host(whole));
    cuts.filter_map(host).chain(bare).map(Target::Web).collect()
}

fn is_markup(c: char) -> bool {
    matches!(c, '*' | '`' | '$' | '~')
}

/// Marks that may stand behind an address. No name that exists ends in one.
fn is_mark(c: char) -> bool {
    ".,;:!?'…*_~`$)]}’”»".contains(c)
}

/// What looks like a link to people: other schemes, and names of sites without one.
fn sites(text: &str) -> Vec<Target> {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]).url_must_have_scheme(false);
    let links = finder.links(text).flat_map(|link| {
        let found = link.as_str();
        match found.split_once("://") {
            Some((scheme, _)) if is_web(scheme) => web(found),
            Some((scheme, _)) if is_scheme(scheme) => vec![Target::Other],
            _ if is_site(found, &text[link.end()..]) => web(&format!("https://{found}")),
            _ => Vec::new(),
        }
    });
    links.collect()
}

fn is_web(scheme: &str) -> bool {
    ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web))
}

fn is_scheme(scheme: &str) -> bool {
    scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// `javascript:alert(1)` counts, `JavaScript: The Good Parts` does not.
fn scripts(text: &str) -> Vec<Target> {
    let lower = text.to_ascii_lowercase();
    let is_script = |scheme: &str| {
        lower.match_indices(scheme).any(|(start, _)| {
            let before = lower[..start].chars().next_back();
            let after = lower[start + scheme.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && after.is_some_and(|c| !c.is_whitespace())
        })
    };
    let found = SCRIPTS.into_iter().filter(|scheme| is_script(scheme));
    found.map(|_| Target::Other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allows(links: &Links, body: &str) -> bool {
        Policy::compile(links).unwrap().verdict(body) == Verdict::Allow
    }

    fn school() -> Links {
        Links::AllowList(vec![
            "good.edu".into(),
            "*.Bücher.example".into(),
            "192.0.2.7".into(),
            "localhost".into(),
        ])
    }

    #[test]
    fn no_links_at_all() {
        for body in [
            "https://a.test",
            "see http://a.test/x?y#z.",
            "HTTPS://A.TEST",
            "xhttps://a.test",
            "1https://a.test",
            "www.a.test",
            "a.com",
            "look at evil.org, please",
            "uni-wien.ac.at",
            "evil.rs/x",
            "ftp://a.test",
            "steam://run/1",
            "javascript:alert(1)",
            "javascript://a.test/%0aalert(1)",
            "data:text/html,x",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://2130706433/",
            "ｈｔｔｐｓ：／／ａ．ｔｅｓｔ",
            "https://пример.рф",
            "(https://a.test)",
            "**https://a.test**",
            "good.edu@evil.com/x https://good.edu",
        ] {
            assert!(!allows(&Links::Off, body), "{body:?}");
            assert!(allows(&Links::On, body), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_link() {
        for body in [
            "",
            "Is x_1 < x_2?",
            "e.g. this, i.e. that",
            "Hello.In the end. yes.It is. ok.so what",
            "main.rs and main.py:42, README.md, build.sh",
            "numpy.array, self.model.to(device), list.com(x)",
            "version 1.2.3.4, see 3.1.4",
            "JavaScript: The Good Parts. data: 5",
            "f: A -> B, a:b, a://",
            "ana@example.org",
            "http, https and https:// alone",
            "3.14, 10:30, 1.000,50",
            "s.t. x.y = 0",
            "and/or, w/o, 24/7",
        ] {
            assert!(allows(&Links::Off, body), "{body:?}");
        }
    }

    #[test]
    fn links_to_listed_hosts() {
        for body in [
            "https://good.edu",
            "https://GOOD.edu/x, (http://www.good.edu:8080/y).",
            "https://evil.test@good.edu",
            "https://good.edu./x",
            "good.edu and www.good.edu/x",
            "https://www.bücher.example/ä",
            "https://xn--bcher-kva.example",
            "http://192.0.2.7/",
            "http://localhost:3000",
            "**https://good.edu**, `https://good.edu`, “https://good.edu”",
            r"https://good.edu\@evil.test",
            "https://good.edu,",
        ] {
            assert!(allows(&school(), body), "{body:?}");
        }
        for body in [
            "https://evil.test",
            "https://notgood.edu",
            "https://good.edu.evil.test",
            "https://good.edu@evil.test",
            "https://good.edu:pass@evil.test/",
            "https://good.edu%40evil.test@evil.test",
            "https://evil.test/https://good.edu",
            "good.edu/https://evil.test",
            "https://good.edu https://evil.test",
            "https://good。edu.evil.test",
            "https://good.edu。evil.test",
            "evil.com?good.edu",
            "ftp://good.edu",
            "javascript://good.edu/%0aalert(1)",
            "javascript:location='//evil.test'",
            "http://192.0.2.70/",
            "https://edu",
            "https://gооd.edu",
            "https://evil.test`@good.edu",
            "**https://evil.test**@good.edu",
            "$https://evil.test$@good.edu",
            "https://good.edu\u{FF0E}evil.test",
        ] {
            assert!(!allows(&school(), body), "{body:?}");
        }
    }

    #[test]
    fn lists_hold_hosts() {
        let refused = |host: &str| Policy::compile(&Links::AllowList(vec![host.into()])).is_err();
        for bad in [
            "",
            "https://good.edu",
            "good.edu/x",
            "a b",
            "*",
            "a*.edu",
            "good.edu:80",
            ".",
        ] {
            assert!(refused(bad), "{bad:?}");
        }
        for good in [
            "edu",
            "good.edu.",
            ".good.edu",
            "[::1]",
            "a_b.good.edu",
            "пример.рф",
        ] {
            assert!(!refused(good), "{good:?}");
        }
        let many = Links::AllowList(vec!["a.test".into(); MAX_HOSTS + 1]);
        assert!(Policy::compile(&many).is_err());
    }

    /// What the player makes clickable (`player/src/core/markup.ts`), and more: whatever could be bold, code or a formula
    /// is taken for it.
    fn clickable(text: &str) -> Vec<Url> {
        let marks = ["**", "`", "$"];
        let pieces = marks.iter().flat_map(|mark| text.split(mark));
        pieces.flat_map(addresses_in).chain(addresses_in(text)).collect()
    }

    fn addresses_in(text: &str) -> Vec<Url> {
        let lower = text.to_ascii_lowercase();
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(start) = lower[at..].find("http").map(|start| at + start) {
            let rest = &lower[start..];
            let scheme = ["https://", "http://"]
                .into_iter()
                .find(|scheme| rest.starts_with(scheme));
            let stops = |c: char| c.is_whitespace() || "<>\"`".contains(c);
            let end = start + rest.find(stops).unwrap_or(rest.len());
            let Some(scheme) = scheme.filter(|scheme| end - start > scheme.len()) else {
                at = start + 4;
                continue;
            };
            let mut address = text[start..end].trim_end_matches(|c| ".,;:!?'…".contains(c));
            while address.ends_with(')') && address.matches(')').count() > address.matches('(').count() {
                address = &address[..address.len() - 1];
            }
            // A host of nothing but marks leads nowhere.
            let leads = |url: &Url| {
                url.host_str()
                    .is_some_and(|host| !host.trim_end_matches(is_mark).is_empty())
            };
            found.extend(
                Url::parse(address)
                    .ok()
                    .filter(|url| address.len() > scheme.len() && leads(url)),
            );
            at = end;
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_clickable_was_judged(
            text in "(https?://|HTTP://|www\\.|good\\.edu|evil\\.test|[ @:/\\\\.,()\"<>?#%a。！'*`$-]|\\*\\*|\u{301}|é){0,12}",
        ) {
            let text = crate::room::clean(&text);
            let clickable = clickable(&text);
            let good: Host = Host::parse("good.edu").unwrap();
            let is_good = |url: &Url| match url.host().map(|host| host.to_owned()) {
                Some(Host::Domain(name)) => covers(&good, &Host::Domain(name.trim_end_matches(is_mark).into())),
                _ => false,
            };
            if allows(&Links::Off, &text) {
                prop_assert!(clickable.is_empty(), "{:?}", clickable);
            }
            if allows(&school(), &text) {
                prop_assert!(clickable.iter().all(is_good), "{:?}", clickable);
            }
        }
    }
}
