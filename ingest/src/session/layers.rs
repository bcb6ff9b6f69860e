//! Which layer of simulcast is shown: the largest that is sent cleanly. Time is an argument.

use std::time::{Duration, Instant};

/// A layer has stopped when it is silent for so long while another sends: browsers stop the upper layers when the
/// network does not carry them.
const STOPPED: Duration = Duration::from_millis(600);
/// A larger layer is trusted after it came cleanly for so long, …
const SETTLED: Duration = Duration::from_secs(1);
/// … but for the beginning, when all come at once.
const BEGINNING: Duration = Duration::from_secs(3);

/// What is known of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// Width times height of its last keyframe; 0 before it.
    pub area: u32,
    /// Its last whole picture.
    pub last: Option<Instant>,
    /// Since when nothing of it was lost.
    pub clean_since: Option<Instant>,
}

impl Layer {
    pub fn picture(&mut self, area: Option<u32>, now: Instant) {
        if let Some(area) = area {
            self.area = area;
        }
        self.last = Some(now);
        self.clean_since.get_or_insert(now);
    }

    pub fn lost(&mut self) {
        self.clean_since = None;
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.clean_since
            .is_some_and(|since| now.saturating_duration_since(since) >= SETTLED)
    }
}

/// The layers of one picture, and which of them is shown.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub shown: Option<usize>,
    began: Option<Instant>,
}

impl Choice {
    /// Whether the shown layer gives way to this one, whose keyframe is at hand.
    pub fn rises_to(&mut self, layers: &[Layer], to: usize, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let Some(shown) = self.shown else { return true };
        let is_beginning = now.saturating_duration_since(began) < BEGINNING;
        to != shown
            && (layers[to].area > layers[shown].area || has_stopped(layers, shown, now))
            && (is_beginning || layers[to].is_settled(now) || has_stopped(layers, shown, now))
    }

    /// A larger layer than the one shown that has settled: worth asking for a keyframe.
    pub fn better(&self, layers: &[Layer], now: Instant) -> Option<usize> {
        let shown = layers.get(self.shown?)?;
        let better = |n: &usize| {
            layers[*n].area > shown.area && layers[*n].is_settled(now) && !has_stopped(layers, *n, now)
        };
        (0..layers.len()).filter(better).max_by_key(|n| layers[*n].area)
    }

    /// The layer to fall back to when the shown one has stopped: the largest of the others that goes on.
    pub fn fall_back(&self, layers: &[Layer], now: Instant) -> Option<usize> {
        let shown = self.shown?;
        if !has_stopped(layers, shown, now) {
            return None;
        }
        let goes_on =
            |n: &usize| *n != shown && layers[*n].clean_since.is_some() && !has_stopped(layers, *n, now);
        (0..layers.len()).filter(goes_on).max_by_key(|n| layers[*n].area)
    }
}

/// Silent while another sends. A still screen at one picture a second is silent in all layers alike.
fn has_stopped(layers: &[Layer], n: usize, now: Instant) -> bool {
    let Some(last) = layers[n].last else { return true };
    let newest = layers.iter().filter_map(|layer| layer.last).max();
    now.saturating_duration_since(last) > STOPPED
        && newest.is_some_and(|newest| newest.saturating_duration_since(last) > STOPPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Pictures of the layers from `from` to `to`, one every 33 ms.
    fn send(layers: &mut [Layer], which: &[usize], from: Instant, to: Instant) {
        let mut now = from;
        while now < to {
            which.iter().for_each(|n| layers[*n].picture(None, now));
            now += ms(33);
        }
    }

    fn layers(areas: &[u32], now: Instant) -> Vec<Layer> {
        let mut layers = vec![Layer::default(); areas.len()];
        for (layer, area) in layers.iter_mut().zip(areas) {
            layer.picture(Some(*area), now);
        }
        layers
    }

    #[test]
    fn the_largest_is_taken_whatever_its_place() {
        let t = Instant::now();
        for areas in [[100, 400, 25], [400, 100, 25], [25, 100, 400]] {
            let (layers, mut choice) = (layers(&areas, t), Choice::default());
            for n in 0..3 {
                if choice.rises_to(&layers, n, t) {
                    choice.shown = Some(n);
                }
            }
            assert_eq!(areas[choice.shown.unwrap()], 400);
        }
    }

    #[test]
    fn a_layer_that_stops_gives_way_and_is_taken_again_once_it_has_settled() {
        let t = Instant::now();
        let (mut layers, mut choice) = (layers(&[400, 100], t), Choice::default());
        assert!(choice.rises_to(&layers, 0, t));
        choice.shown = Some(0);
        send(&mut layers, &[0, 1], t, t + ms(5_000));
        assert_eq!(choice.fall_back(&layers, t + ms(5_000)), None);
        send(&mut layers, &[1], t + ms(5_000), t + ms(6_000));
        assert_eq!(choice.fall_back(&layers, t + ms(6_000)), Some(1));
        choice.shown = Some(1);
        layers[0].lost();
        send(&mut layers, &[0, 1], t + ms(6_000), t + ms(6_500));
        assert!(!choice.rises_to(&layers, 0, t + ms(6_500)), "not yet");
        assert_eq!(choice.better(&layers, t + ms(6_500)), None);
        send(&mut layers, &[0, 1], t + ms(6_500), t + ms(7_100));
        assert_eq!(choice.better(&layers, t + ms(7_100)), Some(0));
        assert!(choice.rises_to(&layers, 0, t + ms(7_100)));
    }

    #[test]
    fn silence_of_all_is_no_reason() {
        let t = Instant::now();
        let (layers, mut choice) = (layers(&[400, 100], t), Choice::default());
        choice.shown = Some(0);
        assert_eq!(choice.fall_back(&layers, t + ms(60_000)), None);
        assert!(!choice.rises_to(&layers, 1, t + ms(60_000)));
    }
}
