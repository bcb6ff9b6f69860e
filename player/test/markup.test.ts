import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, PLAIN, sourceOf, textOf, type Node, type Syntax } from '../src/core/markup';

const t = (text: string): Node => ({ kind: 'text', text });
const link = (text: string, href = text): Node => ({ kind: 'link', text, href });
const code = (text: string, fence = '`'): Node => ({ kind: 'code', text, fence });
const math = (text: string, fence = '$'): Node => ({ kind: 'math', text, fence });
const bold = (...nodes: Node[]): Node => ({ kind: 'bold', nodes });

describe('inline syntax', () => {
  test.each<[string, Node[]]>([
    ['', []],
    ['Is x_1 < x_2?', [t('Is x_1 < x_2?')]],
    ['a **b** c', [t('a '), bold(t('b')), t(' c')]],
    ['**a `b` $c$**', [bold(t('a '), code('b'), t(' '), math('c'))]],
    ['x**2 + y**2', [t('x**2 + y**2')]],
    ['2 ** 3 ** 4', [t('2 ** 3 ** 4')]],
    ['****', [t('****')]],
    ['**a\nb**', [t('**a\nb**')]],
    ['`a` and ``b`c``', [code('a'), t(' and '), code('b`c', '``')]],
    ['`a\nb`', [t('`a\nb`')]],
    ['```\nfor x in y:\n```', [code('\nfor x in y:\n', '```')]],
    ['`$a$ **b** https://a.org`', [code('$a$ **b** https://a.org')]],
    ['so $x^2$.', [t('so '), math('x^2'), t('.')]],
    ['$$\\sum_i i$$', [math('\\sum_i i', '$$')]],
    ['$5 and $6', [t('$5 and $6')]],
    ['US$5 or A$6', [t('US$5 or A$6')]],
    ['\\$a$ $ b$ $a\nb$', [t('\\$a$ $ b$ $a\nb$')]],
    [`$${'x'.repeat(401)}$`, [t(`$${'x'.repeat(401)}$`)]],
    ['see https://a.org/x?y=1, ok', [t('see '), link('https://a.org/x?y=1'), t(', ok')]],
    ['(https://en.wikipedia.org/wiki/Ring_(mathematics))', [t('('), link('https://en.wikipedia.org/wiki/Ring_(mathematics)'), t(')')]],
    ['**https://a.org**', [bold(link('https://a.org', 'https://a.org/'))]],
    ['HTTPS://A.org', [link('HTTPS://A.org', 'https://a.org/')]],
    ['javascript:alert(1) data:text/html,x', [t('javascript:alert(1) data:text/html,x')]],
    ['<img src=x onerror=alert(1)>', [t('<img src=x onerror=alert(1)>')]],
    ['http://', [t('http://')]],
    ['xhttps://a.org', [t('xhttps://a.org')]],
  ])('of %j', (text, expected) => expect(parse(text)).toEqual(expected));

  test('names whom it mentions, the longest name first, and nobody else', () => {
    const people = [{ id: 'a', name: 'Ana' }, { id: 'b', name: 'Ana Ruiz' }, { id: 'c', name: '' }];
    const found = parse('@Ana Ruiz, @Ana: ask ana@Ana or @Anabel', { ...PLAIN, people });
    expect(found.filter(({ kind }) => kind === 'mention')).toEqual([
      { kind: 'mention', text: '@Ana Ruiz', id: 'b' },
      { kind: 'mention', text: '@Ana', id: 'a' },
    ]);
  });

  test.each<[Pick<Syntax, 'links' | 'hosts'>, string, boolean]>([
    [{ links: 'off', hosts: ['a.org'] }, 'https://a.org/', false],
    [{ links: 'list', hosts: ['a.org'] }, 'https://a.org/', true],
    [{ links: 'list', hosts: ['A.org'] }, 'https://www.a.org/x', true],
    [{ links: 'list', hosts: ['a.org'] }, 'https://ba.org/', false],
    [{ links: 'list', hosts: ['a.org'] }, 'https://a.org.evil.org/', false],
    [{ links: 'list', hosts: ['a.org'] }, 'https://a.org@evil.org/', false],
  ])('with %j makes %s a link: %s', (policy, text, linked) => {
    expect(parse(text, { ...PLAIN, ...policy })[0]?.kind).toBe(linked ? 'link' : 'text');
  });
});

/** Strings that look like the syntax, in all the wrong orders. */
const messy = fc.array(fc.oneof(fc.constantFrom('**', '*', '`', '```', '$', '$$', '@Ana', ' ', '\n', 'http://', 'https://a.org', 'javascript:', '(', ')', '\\', '5', 'x'), fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 60 }).map((parts) => parts.join(''));
const people = [{ id: 'a', name: 'Ana' }];

describe('any text', () => {
  test('survives whole', () => {
    fc.assert(fc.property(messy, (text) => sourceOf(parse(text, { ...PLAIN, people })) === text), { numRuns: 3000 });
  });

  test('is read as it was written, but for the marks', () => {
    const unmarked = (text: string) => text.replace(/[*`$]/g, '');
    fc.assert(fc.property(messy, (text) => unmarked(textOf(parse(text))) === unmarked(text)), { numRuns: 3000 });
  });

  test('has no link but http and https', () => {
    const links = (nodes: readonly Node[]): string[] => nodes.flatMap((node) => (node.kind === 'link' ? [node.href] : node.kind === 'bold' ? links(node.nodes) : []));
    fc.assert(fc.property(messy, (text) => links(parse(text)).every((href) => /^https?:\/\/[^/]/.test(href))), { numRuns: 3000 });
  });

  test('of the worst kind is read before anybody loses patience', { timeout: 60_000 }, () => {
    for (const part of ['*', '**a', '`', '``a`', '$a', '@', 'http://', '(https://a.org)']) {
      const text = part.repeat(20_000).slice(0, 20_000);
      expect(sourceOf(parse(text, { ...PLAIN, people }))).toBe(text);
    }
  });
});
