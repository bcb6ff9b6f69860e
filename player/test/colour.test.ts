/// <reference types="node" />
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hueOf } from '../src/core/colour';

const sheet = (name: string) => readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8');
const [list, tokens] = [sheet('room/lectern-messages.css'), sheet('style/tokens.css')];

type Rgb = [number, number, number];

/** The last value before the dark scheme, and the one in it. */
function schemes(css: string, find: RegExp): [string, string] {
  const [light, dark] = css.split('@media (prefers-color-scheme: dark)');
  return [find.exec(light ?? '')?.[1] ?? '', find.exec(dark ?? '')?.[1] ?? ''];
}

const token = (name: string) => schemes(tokens, new RegExp(`--${name}: (#[0-9a-fA-F]{6})`));
/** Of a rule: `44% 0.1` of `oklch(44% 0.1 var(--hue))`. */
const ruled = (selector: string, property: string) => schemes(list, new RegExp(`\\n\\s*\\.${selector} \\{[^}]*?[\\s;]${property}: oklch\\(([^v]*)var\\(--hue\\)\\)`));

const hex = (text: string): Rgb => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255) as Rgb;

/** CSS Color 4, §10.1: OKLCH to sRGB; what lies outside is clipped, as a screen must. */
function oklch(lightness: number, chroma: number, hue: number): Rgb {
  const [a, b] = [chroma * Math.cos((hue * Math.PI) / 180), chroma * Math.sin((hue * Math.PI) / 180)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s];
  return linear.map((value) => Math.min(1, Math.max(0, value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055))) as Rgb;
}

/** WCAG 2.2, relative luminance and contrast ratio. */
function contrast(one: Rgb, other: Rgb): number {
  const luminance = (rgb: Rgb) => rgb.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)).reduce((sum, value, i) => sum + value * ([0.2126, 0.7152, 0.0722][i] ?? 0), 0);
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

const hued = (value: string, hue: number): Rgb => {
  const [lightness = NaN, chroma = NaN] = value.trim().split(/\s+/).map(parseFloat);
  return oklch(lightness / 100, chroma, hue);
};

const hues = Array.from({ length: 360 }, (_, hue) => hue);

describe('the colour of a person', () => {
  test('the measure is right', () => {
    expect(contrast([1, 1, 1], [0, 0, 0])).toBeCloseTo(21);
    // Red, as CSS Color 4 gives it.
    const [r, g, b] = oklch(0.62796, 0.25768, 29.234);
    expect([r, g, b].map((value) => Math.round(value * 255))).toEqual([255, 0, 0]);
  });

  test.each(['surface', 'sunken', 'accent-soft', 'warn-soft'])('every name can be read on %s, in both schemes', (ground) => {
    const [names, grounds] = [ruled('name', 'color'), token(ground)];
    for (const scheme of [0, 1] as const) {
      const worst = Math.min(...hues.map((hue) => contrast(hued(names[scheme], hue), hex(grounds[scheme]))));
      expect(worst, `scheme ${scheme}`).toBeGreaterThanOrEqual(4.5);
    }
  });

  test('every portrait can be read, in both schemes', () => {
    const [grounds, inks] = [ruled('portrait', 'background'), ruled('portrait', 'color')];
    for (const scheme of [0, 1] as const) {
      expect(Math.min(...hues.map((hue) => contrast(hued(inks[scheme], hue), hued(grounds[scheme], hue))))).toBeGreaterThanOrEqual(4.5);
    }
  });

  test.each([
    ['ink', 'surface'],
    ['muted', 'surface'],
    ['muted', 'sunken'],
    ['accent', 'surface'],
    ['accent', 'accent-soft'],
    ['accent', 'sunken'],
    ['accent-ink', 'accent'],
    ['warn-ink', 'warn-soft'],
    ['ink', 'warn-soft'],
    ['ink', 'accent-soft'],
    ['bad-ink', 'surface'],
    ['bad-ink', 'bad-soft'],
  ])('%s can be read on %s', (ink, ground) => {
    for (const scheme of [0, 1] as const) expect(contrast(hex(token(ink)[scheme]), hex(token(ground)[scheme])), `scheme ${scheme}`).toBeGreaterThanOrEqual(4.5);
  });

  test('is the same each time, and not the same for all', () => {
    const some = Array.from({ length: 50 }, (_, i) => hueOf(`p-${i}`));
    expect(some).toEqual(Array.from({ length: 50 }, (_, i) => hueOf(`p-${i}`)));
    expect(new Set(some).size).toBeGreaterThan(30);
  });
});
