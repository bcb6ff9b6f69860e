//! Puts packets back in order, and knows which are missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Packet;
use super::repair::{Allowance, Reordering, RoundTrip};

/// Packets held at once: a second of 10 Mbit/s. When full, what is missing is given up.
const MAX_WAITING: usize = 1024;
/// So far ahead of what is waited for is a new sequence, not a loss.
const MAX_AHEAD: i64 = 2048;
/// A packet so far behind is not late: the sender began again (RFC 3550 A.1 MAX_MISORDER, scaled to video).
const MAX_BEHIND: i64 = 4096;
/// Asked so often at most; what has not come by then is lost on the way back too.
const MAX_NACKS: u8 = 10;
/// Networks swap neighbours; asking at once would repeat packets that are only a moment late.
const NACK_AFTER: Duration = Duration::from_millis(5);
/// A retransmission cannot be here sooner than a round trip, nor is the timer finer than this.
const MIN_NACK_INTERVAL: Duration = Duration::from_millis(20);

/// A run of packets in sequence, with losses where a packet did not come within the budget.
#[derive(Debug)]
pub(crate) struct Reorder {
    budget: Duration,
    /// Extended sequence number of the packet to be released next; `None` before the first.
    next: Option<i64>,
    highest: i64,
    waiting: BTreeMap<i64, Packet>,
    missing: BTreeMap<i64, Missing>,
    /// Losses to be told before anything else is released.
    untold: u64,
    /// The sequence number after one that was far behind: two in a row are a new sequence.
    restart: Option<u16>,
    allowance: Allowance,
    reordering: Reordering,
    rtt: RoundTrip,
}

#[derive(Debug)]
struct Missing {
    noticed: Instant,
    first_asked: Option<Instant>,
    asked: Option<Instant>,
    times: u8,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    Packet(Packet),
    Lost(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    InOrder,
    /// It filled a gap: reordered, or retransmitted.
    Repaired,
    /// A duplicate, or given up already.
    Useless,
}

impl Reorder {
    pub fn new(budget: Duration) -> Self {
        Reorder {
            budget,
            next: None,
            highest: 0,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            untold: 0,
            restart: None,
            allowance: Allowance::new(),
            reordering: Reordering::default(),
            rtt: RoundTrip::default(),
        }
    }

    /// How long a missing packet is waited for from now on.
    pub fn set_budget(&mut self, budget: Duration) {
        self.budget = budget;
    }

    pub fn push(&mut self, packet: Packet, now: Instant) -> Taken {
        let Some(next) = self.next else {
            self.begin(packet);
            return Taken::InOrder;
        };
        let at = self.extend(packet.sequence);
        if at < next {
            return self.behind(next - at, packet);
        }
        self.restart = None;
        if self.waiting.contains_key(&at) {
            return Taken::Useless;
        }
        let gap = (at - self.highest - 1).max(0);
        if at - next > MAX_AHEAD || gap as f64 > self.allowance.burst(self.budget) {
            self.untold += (at - next) as u64 - self.waiting.len() as u64;
            self.begin(packet);
            return Taken::InOrder;
        }
        self.allowance.came(now, self.budget);
        let repaired = self.missing.remove(&at);
        match &repaired {
            Some(missing) => self.came_late(missing, now),
            None => self.reordering.in_order(),
        }
        for gap in self.highest + 1..at {
            self.missing.insert(
                gap,
                Missing {
                    noticed: now,
                    first_asked: None,
                    asked: None,
                    times: 0,
                },
            );
        }
        self.highest = self.highest.max(at);
        self.waiting.insert(at, packet);
        if repaired.is_some() {
            Taken::Repaired
        } else {
            Taken::InOrder
        }
    }

    /// Sooner than the answer to the first request can be here: it was never lost.
    fn came_late(&mut self, missing: &Missing, now: Instant) {
        if missing
            .first_asked
            .is_none_or(|asked| now.saturating_duration_since(asked) < self.rtt.least() / 2)
        {
            self.reordering
                .overtaken(now.saturating_duration_since(missing.noticed));
        }
    }

    /// The next packet or loss, as far as they are settled by now.
    pub fn pop(&mut self, now: Instant) -> Option<Released> {
        if self.untold > 0 {
            return Some(Released::Lost(std::mem::take(&mut self.untold)));
        }
        let next = self.next?;
        let (&first, _) = self.waiting.first_key_value()?;
        if first == next {
            self.next = Some(next + 1);
            return self.waiting.remove(&first).map(Released::Packet);
        }
        let full = self.waiting.len() > MAX_WAITING;
        let mut lost = 0;
        while let Some(entry) = self.missing.first_entry() {
            let given_up = full || now.saturating_duration_since(entry.get().noticed) >= self.budget;
            if *entry.key() > first || !given_up {
                break;
            }
            entry.remove();
            lost += 1;
        }
        if lost == 0 {
            return None;
        }
        self.next = Some(next + lost);
        Some(Released::Lost(lost as u64))
    }

    /// What to ask for again now. Repeated after a round trip, not sooner; and not when the answer would be too late.
    pub fn nacks(&mut self, now: Instant, rtt: Duration) -> Vec<u16> {
        self.rtt.is(rtt);
        let (interval, rtt) = (self.rtt.answered().max(MIN_NACK_INTERVAL), self.rtt.smooth());
        let (budget, patience) = (self.budget, self.reordering.patience(NACK_AFTER, rtt));
        let due = |m: &Missing| {
            let since = now.saturating_duration_since(m.noticed);
            let rested = m.asked.map_or(since >= patience, |asked| {
                m.times < MAX_NACKS && now.saturating_duration_since(asked) >= interval
            });
            rested && since + rtt <= budget
        };
        let mut wanted = Vec::new();
        for (at, missing) in self.missing.iter_mut().filter(|(_, m)| due(m)) {
            if !self.allowance.spend() {
                break;
            }
            missing.first_asked.get_or_insert(now);
            missing.asked = Some(now);
            missing.times += 1;
            wanted.push(*at as u16);
        }
        wanted
    }

    /// Whether time alone may change something here.
    pub fn is_waiting(&self) -> bool {
        !self.missing.is_empty()
    }

    fn begin(&mut self, packet: Packet) {
        let at = i64::from(packet.sequence);
        self.waiting.clear();
        self.missing.clear();
        self.restart = None;
        self.next = Some(at);
        self.highest = at;
        self.waiting.insert(at, packet);
    }

    fn behind(&mut self, by: i64, packet: Packet) -> Taken {
        if by <= MAX_BEHIND {
            return Taken::Useless;
        }
        if self.restart == Some(packet.sequence) {
            self.untold += 1 + self.missing.len() as u64;
            self.begin(packet);
            return Taken::InOrder;
        }
        self.restart = Some(packet.sequence.wrapping_add(1));
        Taken::Useless
    }

    /// The extended sequence number nearest to the highest one.
    fn extend(&self, sequence: u16) -> i64 {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest + i64::from(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const BUDGET: Duration = Duration::from_millis(120);

    fn packet(sequence: u16) -> Packet {
        Packet {
            ssrc: 1,
            payload_type: 96,
            sequence,
            timestamp: 0,
            marker: false,
            payload: Bytes::from_static(b"x"),
        }
    }

    fn drain(reorder: &mut Reorder, now: Instant) -> Vec<Result<u16, u64>> {
        std::iter::from_fn(|| reorder.pop(now))
            .map(|r| match r {
                Released::Packet(p) => Ok(p.sequence),
                Released::Lost(n) => Err(n),
            })
            .collect()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_gap_is_waited_for_and_then_given_up() {
        let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
        for n in [10, 11, 14, 13] {
            r.push(packet(n), t);
        }
        assert_eq!(drain(&mut r, t), [Ok(10), Ok(11)]);
        assert_eq!(drain(&mut r, t + ms(119)), []);
        assert_eq!(drain(&mut r, t + ms(120)), [Err(1), Ok(13), Ok(14)]);
        assert_eq!(r.push(packet(12), t + ms(121)), Taken::Useless);
    }

    #[test]
    fn a_retransmission_fills_its_gap() {
        let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
        r.push(packet(65_535), t);
        r.push(packet(1), t);
        assert_eq!(r.nacks(t + ms(4), ms(40)), [] as [u16; 0]);
        assert_eq!(r.nacks(t + ms(5), ms(40)), [0]);
        let early: [u16; 0] = [];
        assert_eq!(r.nacks(t + ms(64), ms(40)), early, "the answer may be on its way");
        assert_eq!(r.nacks(t + ms(65), ms(40)), [0]);
        assert_eq!(r.push(packet(0), t + ms(70)), Taken::Repaired);
        assert!(!r.is_waiting());
        assert_eq!(drain(&mut r, t + ms(70)), [Ok(65_535), Ok(0), Ok(1)]);
    }

    #[test]
    fn what_would_come_too_late_is_not_asked_for() {
        for (rtt, asked) in [(100, 1), (116, 0), (900, 0)] {
            let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
            r.push(packet(0), t);
            r.push(packet(2), t);
            let wanted = (0..12).flat_map(|n| r.nacks(t + ms(n * 10), ms(rtt))).count();
            assert_eq!(wanted, asked, "{rtt} ms");
        }
    }

    #[test]
    fn what_is_more_than_a_burst_is_lost_at_once() {
        let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
        r.push(packet(0), t);
        assert_eq!(drain(&mut r, t), [Ok(0)]);
        r.push(packet(200), t);
        assert_eq!(drain(&mut r, t), [Err(199), Ok(200)]);
        assert!(r.nacks(t + ms(10), ms(20)).is_empty());
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        let (t, mut r) = (Instant::now(), Reorder::new(Duration::from_secs(60)));
        r.push(packet(0), t);
        r.push(packet(2), t);
        let asked = (0..1000)
            .filter(|n| !r.nacks(t + ms(n * 10), ms(0)).is_empty())
            .count();
        assert_eq!(asked, usize::from(MAX_NACKS));
    }

    #[test]
    fn a_sender_that_begins_again_is_followed() {
        let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
        r.push(packet(30_000), t);
        assert_eq!(drain(&mut r, t), [Ok(30_000)]);
        assert_eq!(
            r.push(packet(100), t),
            Taken::Useless,
            "one stray packet is not believed"
        );
        r.push(packet(101), t);
        r.push(packet(102), t);
        assert_eq!(drain(&mut r, t), [Err(1), Ok(101), Ok(102)]);
        r.push(packet(20_000), t);
        assert_eq!(drain(&mut r, t), [Err(19_897), Ok(20_000)]);
    }

    /// Eight hours of 2 Mbit/s wrap the sequence eighty times; here are thirty.
    #[test]
    fn wraps_go_unnoticed() {
        let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
        let (mut released, mut lost) = (0u64, 0u64);
        for n in 0..2_000_000u64 {
            let now = t + Duration::from_millis(n * 4);
            // Each hundredth is lost; each of a prime comes after the one behind it.
            match (n % 100, n % 97) {
                (7, _) => {}
                (_, 5) => {
                    r.push(packet((n + 1) as u16), now);
                    r.push(packet(n as u16), now);
                }
                _ => {
                    r.push(packet(n as u16), now);
                }
            }
            for taken in std::iter::from_fn(|| r.pop(now)) {
                match taken {
                    Released::Packet(_) => released += 1,
                    Released::Lost(packets) => lost += packets,
                }
            }
            assert!(r.waiting.len() < 40 && r.missing.len() < 4);
        }
        assert!(released + lost + 40 > 2_000_000, "{released} and {lost}");
        assert!((19_500..=20_000).contains(&lost), "{lost}");
    }

    proptest! {
        /// Whatever the network does within the budget, everything comes out once and in order.
        #[test]
        fn shuffled_and_doubled_packets_come_out_in_order(
            start: u16,
            swaps in prop::collection::vec((0usize..300, 1usize..40), 0..100),
            doubles in prop::collection::vec(0usize..300, 0..50),
        ) {
            let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
            let mut order: Vec<u16> = (0..300u16).map(|n| start.wrapping_add(n)).collect();
            // The first packet says where the sequence begins.
            swaps.iter().for_each(|(a, by)| order.swap((*a).max(1), (a + by).clamp(1, 299)));
            doubles.iter().for_each(|n| order.insert(n + 1, order[*n]));
            order.iter().for_each(|n| { r.push(packet(*n), t); });
            let expected: Vec<_> = (0..300u16).map(|n| Ok(start.wrapping_add(n))).collect();
            prop_assert_eq!(drain(&mut r, t), expected);
        }

        /// Packets and losses together count every number of the sequence exactly once.
        #[test]
        fn what_is_lost_is_counted(start: u16, lost in prop::collection::btree_set(1u16..499, 0..200)) {
            let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
            for n in (0..500u16).filter(|n| !lost.contains(n)) {
                r.push(packet(start.wrapping_add(n)), t);
            }
            let mut at = start;
            for released in drain(&mut r, t + BUDGET) {
                match released {
                    Ok(sequence) => { prop_assert_eq!(sequence, at); at = at.wrapping_add(1); }
                    Err(n) => at = at.wrapping_add(n as u16),
                }
            }
            prop_assert_eq!(at, start.wrapping_add(500));
        }

        #[test]
        fn any_sequence_at_all_is_survived(sequences in prop::collection::vec(any::<u16>(), 0..500)) {
            let (t, mut r) = (Instant::now(), Reorder::new(BUDGET));
            for (n, sequence) in sequences.iter().enumerate() {
                let now = t + ms(n as u64);
                r.push(packet(*sequence), now);
                drain(&mut r, now);
                r.nacks(now, ms(30));
                prop_assert!(r.waiting.len() <= MAX_WAITING + 1 && r.missing.len() <= MAX_AHEAD as usize);
            }
        }
    }
}
