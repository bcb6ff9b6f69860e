//! The picture clock: the time a picture was captured, drawn into it so that any probe can read it back.
//!
//! 48 bits of Unix time in milliseconds and 8 bits of checksum, as black and white blocks in two rows of 28 along
//! the top 8 % of the luma plane. It survives scaling and H.264 down to 240p.

const COLUMNS: usize = 28;
const ROWS: usize = 2;
const BITS: usize = COLUMNS * ROWS;
const TIME_BITS: u32 = 48;

/// The height of the clock, of the height of the picture.
pub const HEIGHT: f64 = 0.08;

/// Video-range white and black.
const ONE: u8 = 235;
const ZERO: u8 = 16;

/// Above it a block is a one.
const THRESHOLD: f64 = 125.0;

/// A block whose mean lies here is not guessed at: the picture is unreadable.
const DOUBT: std::ops::Range<f64> = 90.0..160.0;

/// Of a block only the middle 40 % is read: its edges blur when the picture is scaled.
const MIDDLE: std::ops::Range<f64> = 0.3..0.7;

/// Draws the time into a luma plane whose rows are `stride` bytes apart.
pub fn draw(luma: &mut [u8], stride: usize, width: usize, height: usize, unix_millis: i64) {
    let code = encode(unix_millis);
    let block = (height as f64 * HEIGHT) as usize / ROWS;
    for bit in 0..BITS {
        let (row, column) = (bit / COLUMNS, bit % COLUMNS);
        let value = if code >> (BITS - 1 - bit) & 1 == 1 {
            ONE
        } else {
            ZERO
        };
        let (left, right) = (width * column / COLUMNS, width * (column + 1) / COLUMNS);
        for line in luma.chunks_mut(stride).skip(row * block).take(block) {
            line[left..right].fill(value);
        }
    }
}

/// Reads the time from a luma plane, in Unix milliseconds; `None` if it cannot be read for certain.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<i64> {
    let block = (
        width as f64 / COLUMNS as f64,
        height as f64 * HEIGHT / ROWS as f64,
    );
    let middle = |n: usize, size: f64| {
        let at = |part: f64| ((n as f64 + part) * size) as usize;
        at(MIDDLE.start)..at(MIDDLE.end) + 1
    };
    let mut code = 0u64;
    for bit in 0..BITS {
        let (row, column) = (bit / COLUMNS, bit % COLUMNS);
        let mean = mean(luma, stride, middle(column, block.0), middle(row, block.1))?;
        if DOUBT.contains(&mean) {
            return None;
        }
        code = code << 1 | u64::from(mean > THRESHOLD);
    }
    decode(code)
}

fn mean(
    luma: &[u8],
    stride: usize,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
) -> Option<f64> {
    let count = columns.len() * rows.len();
    let mut sum = 0u64;
    for row in rows {
        let line = luma.get(row * stride + columns.start..row * stride + columns.end)?;
        sum += line.iter().map(|&y| u64::from(y)).sum::<u64>();
    }
    Some(sum as f64 / count as f64)
}

fn encode(unix_millis: i64) -> u64 {
    let time = unix_millis as u64 & ((1 << TIME_BITS) - 1);
    time << 8 | u64::from(checksum(time))
}

fn decode(code: u64) -> Option<i64> {
    let time = code >> 8;
    (checksum(time) == code as u8).then_some(time as i64)
}

/// The six bytes of the time, the least significant first, each times its position from 1, modulo 256.
fn checksum(time: u64) -> u8 {
    time.to_le_bytes()[..6]
        .iter()
        .zip(1u8..)
        .fold(0, |sum: u8, (byte, position)| {
            sum.wrapping_add(byte.wrapping_mul(position))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any time, at any size from 240p up, with rows longer than the picture.
        #[test]
        fn what_is_drawn_is_read(
            ms in 0i64..1 << 48,
            (width, height) in prop::sample::select(vec![(426, 240), (640, 360), (1280, 720), (1920, 1080)]),
            padding in 0usize..70,
        ) {
            let stride = width + padding;
            let mut luma = vec![90u8; stride * height];
            draw(&mut luma, stride, width, height, ms);
            prop_assert_eq!(read(&luma, stride, width, height), Some(ms));
        }

        /// In every byte but the even ones, whose highest bits the checksum multiplies away.
        #[test]
        fn one_wrong_block_makes_it_unreadable(ms in 0i64..1 << 48, byte in 0usize..4, bit in 0usize..8) {
            let place = [0, 8, 24, 40][byte] + bit;
            prop_assert_eq!(decode(encode(ms) ^ 1 << place), None);
        }
    }

    #[test]
    fn a_grey_block_is_not_guessed_at() {
        let (width, height) = (1280, 720);
        let mut luma = vec![90u8; width * height];
        draw(&mut luma, width, width, height, 1_760_000_000_123);
        luma.chunks_mut(width)
            .take(28)
            .for_each(|line| line[..45].fill(128));
        assert_eq!(read(&luma, width, width, height), None);
    }

    #[test]
    fn a_picture_without_a_clock_is_unreadable() {
        assert_eq!(read(&[], 1280, 1280, 720), None);
        assert_eq!(read(&vec![235; 1280 * 720], 1280, 1280, 720), None);
    }

    /// The layout is shared with other readers and writers: these are the bits of one known time.
    #[test]
    fn the_code_of_a_known_time() {
        // 0x0199c82cc07b: 0x7b·1 + 0xc0·2 + 0x2c·3 + 0xc8·4 + 0x99·5 + 0x01·6 = 0xa2 modulo 256.
        assert_eq!(encode(1_760_000_000_123), 0x0199_c82c_c07b << 8 | 0xa2);
    }
}
