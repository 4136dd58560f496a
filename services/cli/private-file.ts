// Files for their owner only.

import { rmSync, writeFileSync } from 'node:fs'

/** Mode 0600, also where there was a file with another mode before: that one is replaced. Without `replace` it is an error, EEXIST. */
export function writePrivate(path: string, content: string | Uint8Array, replace: boolean): void {
  if (replace) rmSync(path, { force: true })
  writeFileSync(path, content, { mode: 0o600, flag: 'wx' })
}
