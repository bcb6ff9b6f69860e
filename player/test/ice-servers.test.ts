import { expect, test } from 'vitest';
import { iceServers } from '../src/core/ice-servers';

test('servers are read from links, which browsers join with commas', () => {
  const links = '<stun:stun.test:3478>; rel="ice-server", <turn:turn.test?transport=tcp>; rel="ice-server"; username="1:a, b"; credential="x\\"y="; credential-type="password"';
  expect(iceServers(links)).toEqual([{ urls: 'stun:stun.test:3478' }, { urls: 'turn:turn.test?transport=tcp', username: '1:a, b', credential: 'x"y=' }]);
});

test('other links are none', () => {
  expect(iceServers(null)).toEqual([]);
  expect(iceServers('<https://a.test>; rel="ice-server", <stun:b.test>; rel="next"')).toEqual([]);
});
