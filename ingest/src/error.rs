use std::io;
use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ingest.{setting}: {reason}")]
    Config { setting: &'static str, reason: String },
    #[error("cannot open UDP {addr} for publishers: {source}")]
    Udp { addr: SocketAddr, source: io::Error },
    #[error("no address to advertise: none of ingest.advertise has the address family of ingest.udp ({0})")]
    NothingToAdvertise(SocketAddr),
}
