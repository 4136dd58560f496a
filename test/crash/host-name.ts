// The host names that tell which REQUEST they came with, by its transaction id.

export const hostNameOf = (xid: number): string => `xid${xid}x`

/** The transaction ids of all such names in a text. */
export const requestsIn = (text: string): number[] =>
  [...text.matchAll(/xid(\d+)x/g)].map(([, xid]) => Number(xid))
