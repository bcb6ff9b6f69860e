/** Where a viewer is against the live edge. */

/** Further back than this the room is shown by position; back within the nearer bound, on arrival. */
const REWOUND_MS = 10_000;
const RETURNED_MS = 7_000;

/** With a hysteresis, so that the room does not flip at the bound. */
export const isRewound = (was: boolean, behindMs: number): boolean => behindMs > (was ? RETURNED_MS : REWOUND_MS);
