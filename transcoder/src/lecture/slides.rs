//! What the lecture is about: any wave is a sum of circles. One slide, one wave.

use std::f32::consts::PI;

pub struct Slide {
    pub title: &'static str,
    pub points: [&'static str; 3],
    pub formula: &'static str,
    pub wave: Wave,
}

#[derive(Clone, Copy)]
pub enum Wave {
    /// So many odd harmonics of the square wave.
    Square(u32),
    /// So many harmonics of the saw tooth.
    Saw(u32),
    /// So many odd harmonics of the triangle.
    Triangle(u32),
}

/// One circle: how often it turns while the first turns once, and its radius (negative: it starts opposite).
pub struct Circle {
    pub turns: f32,
    pub radius: f32,
}

impl Wave {
    pub fn circles(self) -> Vec<Circle> {
        let circle = |turns: u32, radius: f32| Circle {
            turns: turns as f32,
            radius,
        };
        let odd = |count: u32| (0..count).map(|n| 2 * n + 1);
        let alternating = |n: u32| if n.is_multiple_of(2) { 1.0 } else { -1.0 };
        match self {
            Wave::Square(count) => odd(count).map(|n| circle(n, 4.0 / (PI * n as f32))).collect(),
            Wave::Saw(count) => (1..=count)
                .map(|n| circle(n, -alternating(n) * 2.0 / (PI * n as f32)))
                .collect(),
            Wave::Triangle(count) => {
                let radius = |n: u32| alternating(n / 2) * 8.0 / (PI * n as f32).powi(2);
                odd(count).map(|n| circle(n, radius(n))).collect()
            }
        }
    }
}

pub const SLIDES: [Slide; 6] = [
    Slide {
        title: "One circle, one wave",
        points: [
            "A point goes round at a steady pace.",
            "Write down its height, moment by moment.",
            "What comes out is the sine.",
        ],
        formula: "y(t) = sin ωt",
        wave: Wave::Square(1),
    },
    Slide {
        title: "A circle on a circle",
        points: [
            "A second one rides on the first.",
            "It is three times as fast, a third as large.",
            "The crest of the wave grows flat.",
        ],
        formula: "y(t) = sin ωt + ⅓ sin 3ωt",
        wave: Wave::Square(2),
    },
    Slide {
        title: "Towards the square",
        points: [
            "Each odd circle adds a steeper edge.",
            "Five of them come close already.",
            "How many would make it exact?",
        ],
        formula: "y(t) = Σ sin(nωt) / n,  n = 1, 3, 5, 7, 9",
        wave: Wave::Square(5),
    },
    Slide {
        title: "The overshoot that stays",
        points: [
            "Twelve circles, and still a spike at the edge.",
            "More make it narrower, but never lower.",
            "It is 9 % of the jump: Gibbs, 1899.",
        ],
        formula: "y(t) = Σ sin(nωt) / n,  n = 1, 3, … 23",
        wave: Wave::Square(12),
    },
    Slide {
        title: "The saw tooth",
        points: [
            "Take every circle, not just the odd ones.",
            "A bowed string sounds like this:",
            "every harmonic, each softer than the last.",
        ],
        formula: "y(t) = Σ ± sin(nωt) / n,  n = 1, 2, … 8",
        wave: Wave::Saw(8),
    },
    Slide {
        title: "The triangle",
        points: [
            "Let the circles shrink with the square of n.",
            "Three are enough: no corner, no overshoot.",
            "A smooth wave needs few circles.",
        ],
        formula: "y(t) = Σ ± sin(nωt) / n²,  n = 1, 3, 5",
        wave: Wave::Triangle(3),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn height(wave: Wave, turn: f32) -> f32 {
        wave.circles()
            .iter()
            .map(|c| c.radius * (2.0 * PI * turn * c.turns).sin())
            .sum()
    }

    #[test]
    fn the_circles_add_up_to_their_waves() {
        assert!((height(Wave::Square(400), 0.25) - 1.0).abs() < 0.01);
        assert!((height(Wave::Square(400), 0.6) + 1.0).abs() < 0.01);
        assert!((height(Wave::Saw(400), 0.25) - 0.5).abs() < 0.01);
        assert!((height(Wave::Saw(400), 0.4) - 0.8).abs() < 0.01);
        assert!((height(Wave::Triangle(40), 0.25) - 1.0).abs() < 0.01);
        assert!((height(Wave::Triangle(40), 0.125) - 0.5).abs() < 0.01);
    }
}
