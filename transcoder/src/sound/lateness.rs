//! When sound is late for good, and when there is room for it to come forward again. Times are samples of the line.

use super::ms;

/// Sound later than the line for this long is not a burst after a loss: the sound is moved back, as far as it
/// takes, because late sound is better than none.
const LATE_FOR_GOOD: i64 = ms(500) as i64;
/// A path that has just become slower becomes slower still.
const STILL_LATE: i64 = ms(100) as i64;
const JUST_MOVED: i64 = ms(3_000) as i64;
/// Sound that was in time for so long is late anew.
const FORGIVEN: i64 = ms(2_000) as i64;
/// Room that is left when sound comes forward, which is begun for more than the other.
const KEPT: f64 = ms(20);
const WORTH_IT: f64 = ms(60);
/// The least room before the edge is looked at over one to two such spans before sound that was moved back comes
/// forward. Twice as long each time that was too soon.
const LEAST_PATIENCE: i64 = ms(1_000) as i64;
const MOST_PATIENCE: i64 = ms(16_000) as i64;

/// Sound that came after its frame had left.
#[derive(Default)]
pub struct Late {
    since: Option<i64>,
    last: i64,
    moved: Option<i64>,
}

impl Late {
    pub fn in_time(&mut self) {
        self.since = None;
    }

    pub fn moved_back(&mut self, base: i64) {
        *self = Late {
            moved: Some(base),
            ..Late::default()
        };
    }

    /// Sound is late at `base`. Whether it has been for so long that it is to be moved back.
    pub fn for_good(&mut self, base: i64) -> bool {
        if base - self.last >= FORGIVEN {
            self.since = None;
        }
        self.last = base;
        let borne = match self.moved {
            Some(moved) if base - moved < JUST_MOVED => STILL_LATE,
            _ => LATE_FOR_GOOD,
        };
        base - *self.since.get_or_insert(base) >= borne
    }
}

/// The least room before the edge, over one to two spans of patience.
pub struct Slack {
    since: i64,
    least: f64,
    /// Of the span before.
    before: Option<f64>,
    patience: i64,
    /// Sound comes forward, or when it last did.
    coming: bool,
    forward: Option<i64>,
}

impl Slack {
    pub fn new(since: i64) -> Self {
        Slack {
            since,
            least: f64::INFINITY,
            before: None,
            patience: LEAST_PATIENCE,
            coming: false,
            forward: None,
        }
    }

    pub fn watch(&mut self, base: i64, room: f64) {
        self.least = self.least.min(room);
        if base - self.since >= self.patience {
            self.before = Some(self.least);
            (self.since, self.least) = (base, room);
        }
    }

    /// By how much sound that is `shift` behind may come forward.
    pub fn room(&mut self, shift: f64) -> f64 {
        let least = self.before.map_or(0.0, |before| before.min(self.least));
        self.coming = shift > 0.0 && least > if self.coming { KEPT } else { WORTH_IT };
        if self.coming {
            (least - KEPT).min(shift)
        } else {
            0.0
        }
    }

    pub fn moved_forward(&mut self, base: i64, by: f64) {
        self.least -= by;
        self.before = self.before.map(|before| before - by);
        self.forward = Some(base);
    }

    /// Soon after it came forward: that was no recovery.
    pub fn moved_back(&mut self, base: i64) {
        let hasty = self
            .forward
            .is_some_and(|forward| base - forward < 8 * self.patience);
        *self = Slack {
            patience: if hasty {
                (self.patience * 2).min(MOST_PATIENCE)
            } else {
                LEAST_PATIENCE
            },
            ..Slack::new(base)
        };
    }
}
