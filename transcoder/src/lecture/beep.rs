//! The sound of the lecture: a beep at each whole second, and a soft noise floor between.

use std::f64::consts::TAU;

pub const SAMPLE_RATE: i64 = 48_000;
pub const CHANNELS: usize = 2;

/// 60 ms of 1 kHz.
const BEEP_SAMPLES: i64 = 2_880;
const BEEP_HERTZ: f64 = 1_000.0;

/// A quarter of full scale: clear, and bearable for an hour.
const BEEP_LEVEL: f64 = 0.25;

/// The beep begins at full level, for probes, and fades out over 5 ms, against the click.
const FADE_SAMPLES: i64 = 240;

/// Of 32768: about −78 dB. Not digital silence, which some meters and encoders treat as no sound at all.
const NOISE_LEVEL: i64 = 4;

/// Appends the sound captured from sample `first` on, counted from the Unix epoch, interleaved.
pub fn render(first: i64, samples: usize, out: &mut Vec<i16>) {
    for n in 0..samples as i64 {
        let sample = sample(first + n);
        out.extend([sample; CHANNELS]);
    }
}

fn sample(n: i64) -> i16 {
    let in_second = n.rem_euclid(SAMPLE_RATE);
    if in_second >= BEEP_SAMPLES {
        return noise(n);
    }
    let fade = ((BEEP_SAMPLES - in_second) as f64 / FADE_SAMPLES as f64).min(1.0);
    let wave = (TAU * BEEP_HERTZ * in_second as f64 / SAMPLE_RATE as f64).sin();
    (wave * fade * BEEP_LEVEL * f64::from(i16::MAX)) as i16
}

/// Noise that depends on its place alone (splitmix64), like all else here.
fn noise(n: i64) -> i16 {
    let mut z = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 33) as i64 % (2 * NOISE_LEVEL + 1) - NOISE_LEVEL) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(first: i64, samples: usize) -> Vec<i16> {
        let mut out = Vec::new();
        render(first, samples, &mut out);
        assert!(out.chunks(2).all(|c| c[0] == c[1]), "both channels carry it");
        out.into_iter().step_by(2).collect()
    }

    fn loud(samples: &[i16]) -> Vec<usize> {
        (0..samples.len())
            .filter(|&n| i64::from(samples[n].abs()) > NOISE_LEVEL)
            .collect()
    }

    #[test]
    fn the_beep_begins_on_the_whole_second() {
        let second = 1_760_000_000 * SAMPLE_RATE;
        let loud = loud(&rendered(second - 48_000, 96_000));
        // The first sample of a sine is 0; the second is not. The last period fades to nothing.
        assert_eq!(loud.iter().find(|&&n| n > 24_000), Some(&48_001));
        assert!(loud.iter().all(|n| n % 48_000 < 2_880));
        assert!(loud.contains(&(48_000 + 2_870)));
    }

    #[test]
    fn it_is_a_kilohertz() {
        let beep = rendered(0, 2_640);
        let crossings = beep.windows(2).filter(|w| (w[0] < 0) != (w[1] < 0)).count();
        assert!((108..=110).contains(&crossings), "{crossings}");
        let peak = beep.iter().map(|s| s.abs()).max().unwrap();
        assert_eq!(peak, 8_191);
    }

    #[test]
    fn packets_join_without_a_seam() {
        let whole = rendered(959_000, 1_920);
        assert_eq!([rendered(959_000, 960), rendered(959_960, 960)].concat(), whole);
    }
}
