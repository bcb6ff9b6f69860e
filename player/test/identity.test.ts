import { expect, test } from 'vitest';
import { sourceOf } from '../src/identity';

const token = (claims: unknown) => `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`;

test('a co-host’s link says as what they publish', () => {
  expect(sourceOf(token({ role: 'cohost', source: 'ada', name: 'Ada ĀĒ नमस्ते ???' }))).toBe('ada');
  for (const other of [token({ role: 'host' }), token({ role: 'host', source: 'ada' }), token({ role: 'cohost' }), token(null), 'garbage', 'a.b.c', '', undefined]) {
    expect(sourceOf(other)).toBeUndefined();
  }
});
