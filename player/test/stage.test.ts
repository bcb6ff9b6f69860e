import { expect, test } from 'vitest';
import { choices, cohosts, comesAs, inCorner, screenOf, silences, swapped, type Layout, type Source, type Stage } from '../src/core/stage';

const source = (name: string, video: string | null = 'h264'): Source => ({ source: name, name: name.toUpperCase(), video, audio: null, silent: false, since: null });
const AUTO: Layout = { arrangement: 'auto', sources: [] };
const stage = (sources: string[], layout = AUTO): Stage => ({ layout, on_air: sources.map((name) => source(name)), cohosts: [] });
const of = (id: string, on: Stage) => choices(on).find((choice) => choice.id === id);
const corner = (sources: string[]): Layout => ({ arrangement: 'picture-in-picture', sources });

test('what a bar offers before anybody is on air is the host’s camera and screen', () => {
  expect(choices(stage([])).map(({ layout }) => layout)).toEqual([
    AUTO,
    { arrangement: 'solo', sources: ['main'] },
    { arrangement: 'solo', sources: ['screen'] },
    corner(['screen', 'main']),
    { arrangement: 'side-by-side', sources: [] },
  ]);
});

test.each([
  [['main', 'screen'], ['screen', 'main']],
  [['ada', 'main', 'screen'], ['screen', 'main']],
  [['ada', 'ada-screen'], ['ada-screen', 'ada']],
  [['main', 'ada'], ['main', 'ada']],
  [['main'], ['screen', 'main']],
])('with %j on air, %j share the canvas', (onAir, sources) => {
  expect(of('corner', stage(onAir))?.layout).toEqual(corner(sources));
});

test('a source without a picture is in no layout', () => {
  const on: Stage = { layout: AUTO, on_air: [source('main'), source('screen', null)], cohosts: [] };
  expect(of('screen', on)?.layout.sources).toEqual(['screen']);
  expect(swapped({ ...on, layout: { arrangement: 'side-by-side', sources: [] } })).toBeNull();
});

test.each<[Layout, string | undefined]>([
  [AUTO, 'auto'],
  [{ arrangement: 'solo', sources: ['main'] }, 'camera'],
  [{ arrangement: 'solo', sources: ['ada-screen'] }, 'screen'],
  [{ arrangement: 'solo', sources: ['ada'] }, undefined],
  [corner(['main', 'screen']), 'corner'],
  [{ arrangement: 'side-by-side', sources: ['a', 'b'] }, 'sides'],
])('of %j %s is marked', (layout, id) => {
  expect(choices(stage(['main', 'screen'], layout)).filter(({ current }) => current).map((choice) => choice.id)).toEqual(id ? [id] : []);
});

test.each([
  ['h264', 'opus', false, 'picture and sound'],
  ['h264', null, false, 'picture'],
  [null, 'opus', false, 'sound'],
  [null, null, false, 'connecting…'],
  ['h264', 'opus', true, 'no picture and no sound arrive'],
  ['h264', null, true, 'no picture arrives'],
  [null, 'opus', true, 'no sound arrives'],
])('of %j and %j, silent: %j, it is said: %s', (video, audio, silent, words) => {
  expect(comesAs({ ...source('main', video), audio, silent })).toBe(words);
});

test('who fell silent is told with their name and what they send', () => {
  const [main, screen] = [source('main'), { ...source('screen'), silent: true }];
  expect(silences([main, screen, { ...source('ada'), name: 'Ada', silent: true }])).toEqual(['SCREEN, screen: no picture arrives.', 'Ada, camera: no picture arrives.']);
  expect(silences([main])).toEqual([]);
});

test('pictures swap where there are two', () => {
  expect(swapped(stage(['main', 'screen'], corner(['screen', 'main'])))).toEqual(corner(['main', 'screen']));
  expect(swapped(stage(['main', 'screen'], { arrangement: 'side-by-side', sources: [] }))?.sources).toEqual(['main', 'screen']);
  expect(swapped(stage(['main', 'screen']))).toBeNull();
  expect(swapped(stage(['main', 'screen'], { arrangement: 'solo', sources: ['main'] }))).toBeNull();
});

test('whoever is put in the corner leaves the large picture to another', () => {
  expect(inCorner('ada', stage(['main', 'screen', 'ada'], corner(['screen', 'main'])))).toEqual(corner(['screen', 'ada']));
  expect(inCorner('screen', stage(['main', 'screen'], corner(['screen', 'main'])))).toEqual(corner(['main', 'screen']));
  expect(inCorner('main', stage(['main', 'ada']))).toEqual(corner(['ada', 'main']));
});

test('screens are called as the server calls them', () => {
  expect([screenOf('main'), screenOf('ada'), screenOf('a'.repeat(32))]).toEqual(['screen', 'ada-screen', `${'a'.repeat(25)}-screen`]);
});

test('co-hosts are those whom the server tells of, and whom it was just asked to invite', () => {
  const on: Stage = { ...stage(['main', 'ada']), cohosts: ['ada', 'bo'] };
  const invited = [
    { source: 'bo', name: 'Bo', studio: '/studio/algebra#token=b' },
    { source: 'cy', name: 'Cy', studio: '/studio/algebra#token=c' },
  ];
  expect(cohosts(on, invited)).toEqual([
    { source: 'ada', name: on.on_air[1]?.name ?? 'ada', onAir: true, studio: null },
    { source: 'bo', name: 'Bo', onAir: false, studio: '/studio/algebra#token=b' },
    { source: 'cy', name: 'Cy', onAir: false, studio: '/studio/algebra#token=c' },
  ]);
  expect(cohosts({ ...stage(['bo-screen']), cohosts: ['bo'] }, [])[0]?.onAir).toBe(true);
});
