use std::io;

/// What can go wrong in the transcoder, in the words of who runs it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("transcoder config: {0}")]
    Config(String),
    #[error("the transcoder's process cannot be started: {0}")]
    Spawn(#[source] io::Error),
    #[error("the transcoder's socket: {0}")]
    Socket(#[source] io::Error),
    #[error("the transcoder's wire: {0}")]
    Wire(String),
    #[error("the transcoder's process cannot be confined: {0}")]
    Sandbox(String),
    #[error("the transcoder's limits: {0}")]
    Limit(#[source] io::Error),
    #[error("GStreamer: {0}")]
    GStreamer(String),
    #[error("the encoder for {rendition} gave what cannot be published: {what}")]
    Encoded { rendition: String, what: String },
}

impl From<gstreamer::glib::Error> for Error {
    fn from(e: gstreamer::glib::Error) -> Self {
        Error::GStreamer(e.to_string())
    }
}

impl From<gstreamer::glib::BoolError> for Error {
    fn from(e: gstreamer::glib::BoolError) -> Self {
        Error::GStreamer(e.to_string())
    }
}

impl From<gstreamer::StateChangeError> for Error {
    fn from(e: gstreamer::StateChangeError) -> Self {
        Error::GStreamer(e.to_string())
    }
}
