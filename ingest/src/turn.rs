//! Who publishes as a source that is on air already, where they may wait: their connection stands, and what they send is
//! thrown away until it is their turn. A publisher program knows no other way to wait: it takes an error for the
//! end, and an answer that does not come for one.

use std::time::{Duration, Instant};

use crate::Left;
use crate::peer::{Event, Inbox, Label};
use crate::rtp::Packet;
use crate::sessions::Handle;

/// How often it is looked whether they still send.
const TICK: Duration = Duration::from_secs(1);
/// As many as the tap reads once.
const MAX_INTRODUCTIONS: usize = 64;

/// A packet with which a stream said what it is. None of its later ones does.
pub(crate) type Introduction = (Packet, Box<Label>);

/// Waits. An error says how the session ended instead.
pub(crate) async fn wait(
    handle: &Handle,
    inbox: &mut Inbox,
    silence: Duration,
) -> Result<Vec<Introduction>, Left> {
    tracing::info!("waits for its turn");
    let dropped = metrics::counter!("lectern_ingest_queued_packets_dropped_total", "broadcast" => handle.place.broadcast.as_str().to_owned());
    let mut introductions = Vec::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            how = handle.asked() => return Err(how),
            () = handle.turn() => return Ok(introductions),
            event = inbox.events.recv() => match event {
                Some(Event::Packet { packet, label, .. }) => {
                    dropped.increment(1);
                    if let Some(label) = label && introductions.len() < MAX_INTRODUCTIONS {
                        introductions.push((packet, label));
                    }
                }
                Some(Event::Report(_) | Event::Connected) => {}
                Some(Event::Gone) | None => return Err(Left::Lost),
            },
            _ = tick.tick() => {
                if Instant::now().saturating_duration_since(inbox.vitals.heard()) >= silence {
                    return Err(Left::Lost);
                }
            }
        }
    }
}
