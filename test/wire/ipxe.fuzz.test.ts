// Hostile values in every place of a script, a million of them: the script is refused, or means exactly the commands it was made of to a reader
// that knows nothing of how it was written, only iPXE's rules (core/exec.c, hci/shell.c: expansion, blanks, operators, options).

import t from 'tap'
import { encodeIpxe, type IpxeCommand } from '../../src/wire/ipxe.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { seededRandom } from '../support/mutate.ts'

const SCRIPTS = 250_000
const VALUES_IN_A_SCRIPT = 4

const ODD = ['${', '}', ';', '||', '&&', '&', '|', '\n', '\r', '\t', ' ', '#', '\\', '"', "'", '--', '-n', '-', '\0', 'é', '𝒳', '%00', '%', '${net0/mac}', ':t1', '=', '!', '`', '$(', '<', '>', '*'] // prettier-ignore
const PLAIN = [
  'a',
  'Z',
  '0',
  '/',
  '.',
  ':',
  'http://192.0.2.1/boot',
  'console=ttyS0,115200',
  '_',
  '~',
  '?',
  '+',
  '@'
]

type Seen = { operator: '' | '||' | '&&'; words: string[] }

/** One line as iPXE takes it; undefined when iPXE would expand something that no script of ours means to. */
function parseLine(line: string): Seen[] | undefined {
  if (line.replaceAll(/\$\{t\d+\}/g, '').includes('${')) return undefined
  // A comment ends the line; operators are words of their own.
  const words = line.split(/[ \t\v\f\r]+/).filter((word) => word !== '')
  const commands: Seen[] = [{ operator: '', words: [] }]
  for (const word of words) {
    if (word.startsWith('#')) break
    if (word === '||' || word === '&&') commands.push({ operator: word, words: [] })
    else if (word === ';') commands.push({ operator: '', words: [] })
    else commands.at(-1)!.words.push(word)
  }
  return commands
}

/** What a script does, in the words of `IpxeCommand`, loops left out. */
function meaning(script: string): unknown[] {
  const [magic, ...lines] = script.split('\n')
  if (magic !== '#!ipxe') throw new Error('no script')
  return lines.flatMap((line): unknown[] => {
    const parsed = parseLine(line)
    if (!parsed) throw new Error(`something is expanded: ${line}`)
    const [{ words }, ...more] = parsed as [Seen, ...Seen[]]
    const jumps = more.every(({ words: [command, label] }) => (command === 'goto' && /^t\d+(failed|over)$/.test(label ?? '')) || command === undefined) // prettier-ignore
    if (!jumps) throw new Error(`another command: ${line}`)
    const [command, ...rest] = words
    if (command === 'echo') return [{ do: 'echo', text: withoutOptions(rest).join(' ') }]
    if (command !== 'kernel' && command !== 'initrd') return []
    const [, name, ...others] = rest
    if (rest[0] !== '--name') throw new Error(line)
    const [url, ...given] = withoutOptions(others)
    return [command === 'kernel' ? { do: command, url, name, arguments: given } : { do: command, url, name }]
  })
}

/** iPXE's getopt takes options up to the first word that is none. */
function withoutOptions(words: string[]): string[] {
  if (words[0]?.startsWith('-') && words[0] !== '-') throw new Error(`an option: ${words[0]}`)
  return words
}

t.test('a script means what it was made of, or is refused', async (t) => {
  const uniform = seededRandom(4711)
  const random = (below: number) => Math.floor(uniform() * below)
  const pick = <T>(from: readonly T[]): T => from[random(from.length)] as T
  const value = () =>
    Array.from({ length: random(6) }, () => (random(12) === 0 ? pick(ODD) : pick(PLAIN))).join('')
  let [written, refused] = [0, 0]
  for (let round = 0; round < SCRIPTS; round++) {
    const [a, b, c, d] = Array.from({ length: VALUES_IN_A_SCRIPT }, value) as [string, string, string, string]
    const inner: IpxeCommand[] = [
      { do: 'kernel', url: a, name: b, arguments: [c] },
      { do: 'initrd', url: a, name: d }
    ]
    const places: IpxeCommand[][] = [
      [{ do: 'kernel', url: a, name: 'k', arguments: [b, c] }, { do: 'echo', text: d.trim().replaceAll(/ +/g, ' ') }],
      [{ do: 'retry', times: 2, pauseSeconds: 1, commands: inner }]
    ] // prettier-ignore
    const commands = places[round % places.length] as IpxeCommand[]
    let script
    try {
      script = encodeIpxe(commands)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      refused++
      continue
    }
    written++
    const meant = commands.flatMap((command) => (command.do === 'retry' ? command.commands : [command]))
    const read = meaning(script)
    if (JSON.stringify(read) !== JSON.stringify(meant)) {
      t.same(read, meant, JSON.stringify(script))
      return
    }
  }
  t.ok(written > SCRIPTS / 20, `${written} scripts were written and mean what they should`)
  t.ok(refused > SCRIPTS / 20, `${refused} were refused`)
})
