//! The export over HTTP: for staff, streamed page by page.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{Stream, stream};
use serde::Deserialize;
use timeline::{BroadcastId, MediaTime};

use super::{After, Format};
use crate::api::enter_as_staff;
use crate::event::Face;
use crate::keeper::Veil;
use crate::problem::Problem;
use crate::record::Record;
use crate::rooms::Rooms;
use crate::{Error, Event};

/// Events in one read of the record: what a slow client holds in memory, about 150 KB.
const PAGE: u64 = 500;

pub fn router() -> Router<Rooms> {
    Router::new().route("/api/v1/broadcasts/{id}/room/export", get(export))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    format: Format,
}

async fn export(
    State(rooms): State<Rooms>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (broadcast, pass) = enter_as_staff(&rooms, &id, &headers).await?;
    let Query(Wanted { format }) = wanted?;
    let standing = rooms.stand(&broadcast, &pass.person).await?;
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{broadcast}-room.{}\"", format.extension()),
        ),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let pages = pages(
        rooms.shared().record.clone(),
        broadcast,
        format,
        standing.last,
        standing.veil,
    );
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// The file, as far as the room's event `last`. A failure breaks the answer off: the client sees that it is not whole.
fn pages(
    record: Record,
    broadcast: BroadcastId,
    format: Format,
    last: u64,
    veil: Veil,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let head = (!format.head().is_empty()).then(|| Ok(Bytes::from_static(format.head().as_bytes())));
    let start = After {
        at: MediaTime::from_ticks(-1),
        seq: 0,
    };
    let rest = stream::try_unfold(Some(start), move |after| {
        let (record, broadcast, veil) = (record.clone(), broadcast.clone(), veil.clone());
        async move {
            let Some(after) = after else {
                return Ok(None);
            };
            let events = match format.by_position() {
                true => record.texts_after(&broadcast, after, PAGE).await?,
                false => record.page(&broadcast, after.seq + 1, last, PAGE).await?,
            };
            let whole = events.len() as u64 == PAGE;
            let next = events.last().filter(|_| whole).map(|event| After {
                at: event.at(),
                seq: event.seq,
            });
            Ok(Some((text(format, &events, last, &veil), next)))
        }
    });
    futures::StreamExt::chain(stream::iter(head), rest)
}

fn text(format: Format, events: &[Event], last: u64, veil: &Veil) -> Bytes {
    let mut out = String::new();
    for event in events.iter().filter(|event| event.seq <= last) {
        format.write(&mut out, &event.seen(Face::Staff, veil.anonymous()));
    }
    out.into()
}
