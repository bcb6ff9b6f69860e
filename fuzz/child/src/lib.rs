//! The wire between a transcoder's process and its supervisor, in both directions.

// Links into the transcoder's folders; each is asked for a part of itself.
#![allow(dead_code, unused_imports)]

mod config;
mod wire;
mod confine {
    mod sandbox;
    pub use sandbox::{Confined, Sandbox};
}
mod line {
    mod counts;
    pub use counts::{Counts, Start};
}

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::Decoder;

pub use config::{Config, Passthrough, Rung};
pub use confine::Sandbox;
pub use wire::{FromChild, ToChild};

#[derive(Debug)]
pub enum Error {
    Config(String),
    Wire(String),
}

/// What a socket brings: frames, and in each a message.
pub fn heard<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let (mut codec, mut stream) = (wire::codec(), BytesMut::from(bytes));
    while let Ok(Some(body)) = codec.decode(&mut stream) {
        message::<T>(&body);
    }
}

fn message<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let Ok(message) = wire::decode::<T>(body) else {
        return;
    };
    // By their bytes: what is not a number is not equal to itself.
    let written = wire::encode(&message).expect("what was read can be written");
    let again: T = wire::decode(&written).expect("and read again");
    assert_eq!(wire::encode(&again).expect("as before"), written);
}
