// What is typed at a console, with ssh's escapes: "~." leaves, "~B" sends a break, "~?" helps, "~~" is one "~". They count
// at the beginning of a line only.

export type KeyAction =
  { kind: 'send'; bytes: Buffer } | { kind: 'leave' } | { kind: 'break' } | { kind: 'help' }

const TILDE = '~'.charCodeAt(0)
const LINE_ENDS: ReadonlySet<number> = new Set([0x0a, 0x0d])
const ESCAPES: Readonly<Record<string, KeyAction>> = {
  '.': { kind: 'leave' },
  B: { kind: 'break' },
  '?': { kind: 'help' }
}

export const KEY_HELP = `Escapes, at the beginning of a line:
  ~.  leave the console
  ~B  send a serial break
  ~~  send one ~
  ~?  this
`

/** Takes what was typed, piece by piece; answers what is to be done, in order. */
export function consoleKeys(): (typed: Uint8Array) => KeyAction[] {
  let lineStart = true
  let escaping = false

  return (typed) => {
    const actions: KeyAction[] = []
    let plain: number[] = []
    const flush = (): void => {
      if (plain.length > 0) actions.push({ kind: 'send', bytes: Buffer.from(plain) })
      plain = []
    }
    for (const byte of typed) {
      if (escaping) {
        escaping = false
        const action = ESCAPES[String.fromCharCode(byte)]
        if (action) {
          flush()
          actions.push(action)
          continue
        }
        plain.push(TILDE)
        lineStart = false
        if (byte === TILDE) continue
      } else if (byte === TILDE && lineStart) {
        escaping = true
        continue
      }
      plain.push(byte)
      lineStart = LINE_ENDS.has(byte)
    }
    flush()
    return actions
  }
}
