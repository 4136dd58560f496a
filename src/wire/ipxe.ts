// iPXE scripts: a typed list of commands → text. iPXE splits a line at blanks, expands `${…}` and ends a command at `;`, `||` and
// `&&`; so every value is held against a list of harmless characters and nothing is ever escaped.

import { WireError } from './wire-error.ts'

export type IpxeCommand =
  /** Words for the person at the console. */
  | { do: 'echo'; text: string }
  /** `arguments` become the kernel's command line, one blank between them; on UEFI iPXE puts `name` before them. */
  | { do: 'kernel'; url: string; name: string; arguments: readonly string[] }
  /** `name` is what the file is called in the machine; the kernel's `initrd=` must say the same (UEFI). */
  | { do: 'initrd'; url: string; name: string }
  | { do: 'boot' }
  /** Ends iPXE. Status 0 sends UEFI into its menu; any other makes it go on to the next boot device. */
  | { do: 'exit'; status: number }
  /** All of `commands` up to `times` times, with a pause between, until they succeed; then the script goes on below. */
  | { do: 'retry'; times: number; pauseSeconds: number; commands: readonly IpxeCommand[] }

/** Linux takes 2047 characters on x86 (COMMAND_LINE_SIZE less the end). */
const LONGEST_COMMAND_LINE = 2047

const WORD = /^[A-Za-z0-9_.,:/=+@%?~&-]+$/
/** The first word behind a command's options: a dash would make it one. */
const FIRST = /^(?!-)[A-Za-z0-9_.,:/=+@%?~&-]+$/
const TEXT = /^(?!-)[A-Za-z0-9_.,:/=+@%?~&()'" -]*$/

/** Commands → script; WireError `ipxe-value` for a value that iPXE would not take as it stands. */
export function encodeIpxe(commands: readonly IpxeCommand[]): string {
  const lines = ['#!ipxe']
  let loops = 0

  function add(command: IpxeCommand, onFailure: string): void {
    switch (command.do) {
      case 'echo':
        lines.push(`echo ${checked(TEXT, command.text)}`)
        break
      case 'kernel': {
        const line = command.arguments.map((argument) => checked(WORD, argument)).join(' ')
        if (line.length > LONGEST_COMMAND_LINE)
          throw new WireError('ipxe-value', LONGEST_COMMAND_LINE, 'iPXE: the kernel command line is too long')
        lines.push(
          `kernel --name ${checked(WORD, command.name)} ${checked(FIRST, command.url)} ${line}${onFailure}`
        )
        break
      }
      case 'initrd':
        lines.push(`initrd --name ${checked(WORD, command.name)} ${checked(FIRST, command.url)}${onFailure}`)
        break
      case 'boot':
        lines.push(`boot${onFailure}`)
        break
      case 'exit':
        lines.push(`exit ${whole(command.status)}`)
        break
      case 'retry': {
        const name = `t${++loops}`
        lines.push(`set ${name}:int32 0`, `:${name}`)
        for (const inner of command.commands) add(inner, ` || goto ${name}failed`)
        // Only a loop that contains `boot` is of use: coming here means that something failed.
        lines.push(
          `:${name}failed`,
          'imgfree',
          `inc ${name}`,
          `iseq \${${name}} ${whole(command.times)} && goto ${name}over ||`,
          `sleep ${whole(command.pauseSeconds)}`,
          `goto ${name}`,
          `:${name}over`
        )
        break
      }
    }
  }

  for (const command of commands) add(command, '')
  return lines.join('\n') + '\n'
}

function checked(allowed: RegExp, value: string): string {
  if (!allowed.test(value) || value.includes('&&'))
    throw new WireError('ipxe-value', 0, `iPXE: ${JSON.stringify(value)} cannot stand in a script`)
  return value
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new WireError('ipxe-value', 0, `iPXE: ${value} is not a whole number`)
  return value
}
