/** Who the reader of this page is: a token from the link's fragment, or one that a guest got for a name. */

const key = (broadcast: string) => `lectern:guest:${broadcast}`;

/** `#token=…` never reaches a server or its logs. */
export const tokenOfLink = (): string | undefined => new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;

/**
 * What a co-host's token publishes as; undefined for every other one. Only to show what is theirs to use: what they
 * may do the server decides.
 */
export function sourceOf(token: string | undefined): string | undefined {
  try {
    const claims = JSON.parse(atob((token?.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))) as { role?: unknown; source?: unknown };
    return claims.role === 'cohost' && typeof claims.source === 'string' ? claims.source : undefined;
  } catch {
    return undefined;
  }
}

/** The last part of `/watch/{id}` and `/studio/{id}`. */
export const broadcastOfPage = (): string => decodeURIComponent(location.pathname.split('/').filter(Boolean).at(-1) ?? '');

/** For this tab only, so that a shared computer forgets. */
export const guestToken = (broadcast: string): string | undefined => stored(() => sessionStorage.getItem(key(broadcast))) ?? undefined;

export function rememberGuest(broadcast: string, token: string | undefined): void {
  stored(() => {
    if (token === undefined) sessionStorage.removeItem(key(broadcast));
    else sessionStorage.setItem(key(broadcast), token);
    return null;
  });
}

/** Storage may be switched off; then the name is asked again. */
function stored(access: () => string | null): string | null {
  try {
    return access();
  } catch {
    return null;
  }
}
