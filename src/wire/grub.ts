// GRUB configuration: a typed list of commands → text. Every value is held against a list of harmless characters, as in iPXE scripts, and
// stands in single quotes, between which GRUB expands nothing (GRUB manual, "Quoting").

import { WireError } from './wire-error.ts'

export type GrubCommand =
  /** Words for the person at the console. */
  | { do: 'echo'; text: string }
  /** `url` with an IPv4 address as its host; `arguments` become the kernel's command line, one blank between them. */
  | { do: 'linux'; url: string; arguments: readonly string[] }
  | { do: 'initrd'; url: string }
  | { do: 'boot' }
  /** The first of these files that a disk of the machine has is started as an EFI program; if none does, on below. */
  | { do: 'chainload'; paths: readonly string[] }
  /** Ends GRUB. Builds that know a status tell the firmware to go on; with others it shows its menu. */
  | { do: 'exit' }
  /** All of `commands` up to `times` times, with a pause between, until they succeed; then the configuration goes on below. */
  | { do: 'retry'; times: number; pauseSeconds: number; commands: readonly GrubCommand[] }

/** Linux takes 2047 characters on x86 (COMMAND_LINE_SIZE less the end), of which GRUB's BOOT_IMAGE= takes some. */
const LONGEST_COMMAND_LINE = 1900

const WORD = /^[A-Za-z0-9_.,:/=+@%?~&-]+$/
/** A dash at the beginning would make an option of it. */
const TEXT = /^(?!-)[A-Za-z0-9_.,:/=+@%?~&()" -]*$/
const URL = /^http:\/\/([0-9.]+)(:[0-9]{1,5})?(\/[A-Za-z0-9_./-]*)$/
const MOST_TIMES = 100

/** Commands → configuration; WireError `grub-value` for a value that has no place in one. */
export function encodeGrub(commands: readonly GrubCommand[]): string {
  return commands.flatMap(lines).join('\n') + '\n'
}

function lines(command: GrubCommand): string[] {
  switch (command.do) {
    case 'echo':
      return [`echo ${quoted(TEXT, command.text)}`]
    case 'linux': {
      const line = command.arguments.map((argument) => quoted(WORD, argument)).join(' ')
      if (line.length > LONGEST_COMMAND_LINE) throw refused('the kernel command line is too long')
      return [`linux ${file(command.url)} ${line}`]
    }
    case 'initrd':
      return [`initrd ${file(command.url)}`]
    case 'boot':
      return ['boot']
    case 'chainload':
      return [
        `for path in ${command.paths.map((path) => quoted(WORD, path)).join(' ')}; do`,
        'if search --no-floppy --file --set=root "$path"; then',
        'if chainloader "$path"; then',
        'boot',
        'fi',
        'fi',
        'done'
      ]
    case 'exit':
      return ['exit 1']
    case 'retry': {
      const { times, pauseSeconds, commands } = command
      if (!Number.isSafeInteger(times) || times < 1 || times > MOST_TIMES)
        throw refused(`${times} times is not 1 to ${MOST_TIMES}`)
      // GRUB counts by lists of words only, and has no && to join commands by.
      const turns = Array.from({ length: times }, (_, turn) => turn + 1).join(' ')
      return [`for turn in ${turns}; do`, ...chained(commands), `sleep ${whole(pauseSeconds)}`, 'done']
    }
  }
}

/** Each command only when the one before it has succeeded. */
function chained([first, ...rest]: readonly GrubCommand[]): string[] {
  if (!first) return []
  if (rest.length === 0) return lines(first)
  const [line = '', ...more] = lines(first)
  if (more.length > 0) throw refused('a loop cannot be a condition')
  return [`if ${line}; then`, ...chained(rest), 'fi']
}

/** A URL as GRUB names files: `(http,192.0.2.1:8080)/path`. */
function file(url: string): string {
  const [, host = '', port = '', path = ''] = URL.exec(url) ?? []
  if (host === '') throw refused(`${JSON.stringify(url)} is not a URL that it could load from`)
  return `'(http,${host}${port})${path}'`
}

function quoted(allowed: RegExp, value: string): string {
  if (!allowed.test(value)) throw refused(`${JSON.stringify(value)} cannot stand in a configuration`)
  return `'${value}'`
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw refused(`${value} is not a whole number`)
  return value
}

function refused(why: string): WireError {
  return new WireError('grub-value', 0, `GRUB: ${why}`)
}
