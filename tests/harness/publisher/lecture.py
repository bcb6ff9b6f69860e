"""A lecture whose every picture carries the picture clock, with a beep and a flash at each whole second: what the
publishers outside the browser show."""

import numpy as np

RATE = 30
SAMPLE_RATE = 48_000
COLUMNS, ROWS, CLOCK_HEIGHT = 28, 2, 0.08
FLASH_MS = 50
BEEP_MS = 60


def picture(width, height, ms):
    """Planes of yuv420p as PyAV takes them: (height * 3 / 2) x width."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    luma = planes[:height]
    luma[:] = 60 + np.arange(width) * 80 // width
    x = int(ms / 10) % (width - width // 10)
    luma[height // 2 : height * 6 // 10, x : x + width // 10] = 200
    _draw_clock(luma, ms)
    luma[height * 3 // 10 : height // 2, : width // 4] = 235 if ms % 1000 < FLASH_MS else 16
    return planes


def sound(first_ms, samples):
    """Mono s16 from `first_ms` (fractions count) on: 1 kHz for 60 ms from each whole second."""
    ms = first_ms + np.arange(samples) * 1000 / SAMPLE_RATE
    beep = (ms % 1000) < BEEP_MS
    return (np.sin(2 * np.pi * 1000 * (ms % 1000) / 1000) * 16_000 * beep).astype(np.int16)


def _draw_clock(luma, ms):
    height, width = luma.shape
    row = int(height * CLOCK_HEIGHT) // ROWS
    for i, bit in enumerate(_bits(int(ms))):
        r, c = divmod(i, COLUMNS)
        luma[r * row : (r + 1) * row, width * c // COLUMNS : width * (c + 1) // COLUMNS] = 235 if bit else 16


def _bits(ms):
    checksum = sum(((ms >> (8 * i)) & 255) * (i + 1) for i in range(6)) & 255
    return [(ms >> (47 - i)) & 1 for i in range(48)] + [(checksum >> (7 - i)) & 1 for i in range(8)]
