import { expect, test } from 'vitest';
import { restartFragment, restartedAnswer } from '../src/core/sdp';

const ANSWER = 'v=0\r\nm=audio 9 x 111\r\na=mid:0\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\nm=video 9 x 96\r\na=mid:1\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\n';

test('a restart is asked for with the credentials and candidates of the new offer', () => {
  expect(restartFragment(ANSWER)).toBe('a=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\nm=audio 9 x 111\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n');
});

test('an answer goes by what the fragment says', () => {
  const fragment = 'a=ice-ufrag:new\r\na=ice-pwd:newpwd\r\nm=audio 9 x 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 1 typ host\r\na=end-of-candidates\r\n';
  expect(restartedAnswer(ANSWER, fragment)).toBe(ANSWER.replaceAll('old', 'new').replace('192.0.2.1 ', '192.0.2.9 '));
});
