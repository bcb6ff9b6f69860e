//! How often a room's frames go out.

use std::time::Duration;

/// What a frame costs for each connection, over the share of a core that one room may take for its fan-out: 10 µs, at
/// most 0.4 of a core. The messages of a longer tick share a frame, so they are free.
const FOR_EACH: Duration = Duration::from_micros(25);

/// A room in which answers come later than this is not a live one, whatever it costs.
const LONGEST: Duration = Duration::from_secs(1);

/// The time between two frames of a room with so many connections; at least what is `set`.
pub fn tick(set: Duration, connections: usize) -> Duration {
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    set.max(FOR_EACH.saturating_mul(connections).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_room_ticks_slower() {
        let ms = Duration::from_millis;
        let of = |connections| tick(ms(50), connections);
        assert_eq!([of(0), of(2_000)], [ms(50); 2]);
        assert_eq!(of(10_000), ms(250));
        assert_eq!(of(20_000), ms(500));
        assert_eq!([of(40_000), of(usize::MAX)], [ms(1_000); 2]);
        // What is set longer stays longer.
        assert_eq!(tick(ms(3_000), 40_000), ms(3_000));
    }
}
