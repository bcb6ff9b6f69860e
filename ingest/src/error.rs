use std::io;
use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ingest.{setting}: {reason}")]
    Config { setting: &'static str, reason: String },
    #[error("cannot open UDP {addr} for publishers: {source}")]
    Udp { addr: SocketAddr, source: io::Error },
    #[error("cannot open TCP {addr} for publishers: {source} (ingest.tcp = false does without)")]
    Tcp { addr: SocketAddr, source: io::Error },
    #[error(
        "no address to advertise: none of ingest.advertise has an address family of ingest.udp or ingest.tcp"
    )]
    NothingToAdvertise,
    #[error("no cryptography: {0}")]
    Crypto(String),
}
