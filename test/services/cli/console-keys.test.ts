import t from 'tap'
import { consoleKeys } from '../../../services/cli/console-keys.ts'

/** What comes of pieces typed one after the other: "abc", [leave]. */
function typed(...pieces: string[]): string {
  const keys = consoleKeys()
  return pieces
    .flatMap((piece) => keys(Buffer.from(piece)))
    .map((action) => (action.kind === 'send' ? action.bytes.toString() : `[${action.kind}]`))
    .join('')
}

t.test('escapes count at the beginning of a line only', async (t) => {
  t.equal(typed('~.'), '[leave]', 'the first line has begun')
  t.equal(typed('ls ~/x\r~.'), 'ls ~/x\r[leave]')
  t.equal(typed('ls\n~?'), 'ls\n[help]')
  t.equal(typed('a~.'), 'a~.')
  t.equal(typed('\r', '~', '.'), '\r[leave]', 'typed slowly')
})

t.test('the escapes', async (t) => {
  t.equal(typed('\r~B~Bx'), '\r[break][break]x', 'the line has not begun')
  t.equal(typed('~~.'), '~.', 'one ~ as it is, and then it is no beginning any more')
  t.equal(typed('~x'), '~x')
  t.equal(typed('~\r~.'), '~\r[leave]')
  t.equal(typed('~b'), '~b')
})
