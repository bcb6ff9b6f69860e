//! Hears the receiver ask for a keyframe: PLI (RFC 4585 §6.3.1) or FIR (RFC 5104 §4.3.1). The stack keeps RTCP to
//! itself.

use std::sync::Arc;

use rtc::interceptor::{Interceptor, Packet, Slot};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use tokio::sync::Notify;

use crate::belt::Look;

/// Nearest to the network: it only listens.
pub const SLOT: Slot = Slot::Custom(500);

/// Requests that are not yet heard fold into one.
pub fn requests(wanted: Arc<Notify>) -> impl Interceptor + 'static {
    Look::new(move |packet, _| {
        if let Packet::Rtcp(packets) = packet
            && packets
                .iter()
                .map(|p| p.as_any())
                .any(|p| p.is::<PictureLossIndication>() || p.is::<FullIntraRequest>())
        {
            wanted.notify_one();
        }
        true
    })
}
