//! Is this the name of a site, though no scheme stands before it? `evil.com` is, `main.rs` and `self.model.to(x)` are
//! not: in a lecture on programming, dots are everywhere.

/// Names that sites have. Those that are words people forget a space before (`ok.so`, `yes.it`) or endings of files
/// (`main.rs`) are missing; with a path behind them they count too.
const SITES: [&str; 105] = [
    "com",
    "org",
    "net",
    "edu",
    "gov",
    "mil",
    "int",
    "info",
    "biz",
    "io",
    "app",
    "dev",
    "xyz",
    "online",
    "site",
    "store",
    "shop",
    "club",
    "top",
    "icu",
    "vip",
    "live",
    "stream",
    "link",
    "click",
    "website",
    "tech",
    "page",
    "blog",
    "wiki",
    "academy",
    "education",
    "school",
    "university",
    "chat",
    "social",
    "video",
    "tube",
    "porn",
    "xxx",
    "sex",
    "adult",
    "casino",
    "bet",
    "win",
    "loan",
    "ai",
    "gg",
    "tv",
    "me",
    "ly",
    "ar",
    "au",
    "br",
    "ca",
    "ch",
    "cl",
    "cn",
    "co",
    "cz",
    "de",
    "dk",
    "ee",
    "es",
    "eu",
    "fi",
    "fr",
    "gr",
    "hk",
    "hr",
    "hu",
    "id",
    "ie",
    "il",
    "ir",
    "jp",
    "ke",
    "kr",
    "lt",
    "lu",
    "lv",
    "mx",
    "ng",
    "nl",
    "nz",
    "pe",
    "ph",
    "pk",
    "pt",
    "ro",
    "ru",
    "se",
    "sg",
    "si",
    "sk",
    "th",
    "tr",
    "tw",
    "ua",
    "uk",
    "us",
    "uy",
    "ve",
    "vn",
    "za",
];

/// Second labels of countries that register names below them: `uni-wien.ac.at`, `x.co.in`.
const REGISTRIES: [&str; 8] = ["ac", "co", "com", "edu", "gov", "net", "org", "gv"];

/// `found` is what stands there, perhaps with a path; `after` what follows it.
pub fn is_site(found: &str, after: &str) -> bool {
    let end = found.find(['/', '?', '#', ':']).unwrap_or(found.len());
    let (host, rest) = found.split_at(end);
    let host = host.trim_end_matches('.').to_lowercase();
    let labels: Vec<&str> = host.split('.').collect();
    let [.., second, top] = labels[..] else {
        return false;
    };
    let has_path = rest.starts_with(['/', '?']);
    let is_country = top.len() == 2 && top.chars().all(|c| c.is_ascii_alphabetic());
    let is_address = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    if labels[0] == "www" || (is_address && has_path) {
        return true;
    }
    // A method with its arguments.
    if after.starts_with('(') {
        return false;
    }
    SITES.contains(&top)
        || top.starts_with("xn--")
        || (is_country && (has_path || (labels.len() > 2 && REGISTRIES.contains(&second))))
}
