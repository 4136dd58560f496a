// A passphrase from a file or from whoever is at the terminal; never from the command line, which everybody can read.

import { readFileSync } from 'node:fs'
import { CliError } from './client.ts'

const SHORTEST = 12

/** `twice`: a new one, asked again to be sure. CliError. */
export async function passphrase(file: string | undefined, twice: boolean): Promise<string> {
  const given = file === undefined ? await asked(twice) : read(file)
  if (given.length < SHORTEST)
    throw new CliError(
      `the passphrase must have ${SHORTEST} characters at least; it is all that protects the BMCs' passwords in a backup`
    )
  return given
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new CliError(`cannot read the passphrase from ${file}: ${(error as Error).message}`)
  }
}

async function asked(twice: boolean): Promise<string> {
  if (!process.stdin.isTTY)
    throw new CliError('give the passphrase with --passphrase-file FILE: there is no terminal to ask at')
  const first = await ask('Passphrase: ')
  if (twice && first !== (await ask('Again: ')))
    throw new CliError('these were two different ones; nothing was done')
  return first
}

/** Without showing it. */
function ask(question: string): Promise<string> {
  const { stdin, stderr } = process
  stderr.write(question)
  stdin.setRawMode(true)
  stdin.resume()
  return new Promise((resolve, reject) => {
    let text = ''
    const heard = (bytes: Buffer): void => {
      for (const sign of bytes.toString('utf8')) {
        if (sign === '\r' || sign === '\n') return done(() => resolve(text))
        if (sign === '\u0003') return done(() => reject(new CliError('nothing was done')))
        text = sign === '\u007f' ? text.slice(0, -1) : text + sign
      }
    }
    const done = (then: () => void): void => {
      stdin.off('data', heard)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
      then()
    }
    stdin.on('data', heard)
  })
}
