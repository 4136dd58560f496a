// `seedling backup FILE`: the file is whole and on disk under its name, or it is not there.

import { createWriteStream, existsSync, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { CliError, type Client } from './client.ts'
import type { AddCommand } from './command.ts'
import { bytes } from './format.ts'
import type { Out } from './nodes.ts'
import { passphrase } from './passphrase.ts'

type Options = { passphraseFile?: string; images?: boolean; force?: boolean }

export function backupCommand(program: Command, command: AddCommand): void {
  command(
    program,
    'backup <file>',
    'the whole state as one encrypted file, while all goes on; "seedling restore" takes it',
    (client, out, [file], options: Options) => backup(client, out, file as string, options)
  )
    .option('--passphrase-file <file>', 'where the passphrase is; else it is asked for')
    .option('--images', 'with the images, not only their hashes')
    .option('--force', 'although the file is there already')
}

async function backup(client: Client, out: Out, file: string, options: Options): Promise<void> {
  const bytes = await writeBackupFile(file, options, (secret) =>
    client.stream('POST', '/v1/backup', { passphrase: secret, images: options.images === true })
  )
  if (out.asJson) out.json({ file, bytes })
  else out.line(backupSentence(file, bytes))
}

/** Writes what `open` gives for the passphrase; answers its size in bytes. CliError when there is no backup. */
export async function writeBackupFile(
  file: string,
  options: { passphraseFile?: string; force?: boolean },
  open: (passphrase: string) => Promise<Readable>
): Promise<number> {
  if (existsSync(file) && !options.force) throw new CliError(`${file} is there already; --force replaces it`)
  const secret = await passphrase(options.passphraseFile, true)
  const part = `${file}.part`
  try {
    const target = createWriteStream(part, { mode: 0o600, flush: true })
    await pipeline(await open(secret), target)
    renameSync(part, file)
    await sync(dirname(file))
    return target.bytesWritten
  } catch (error) {
    rmSync(part, { force: true })
    if (error instanceof CliError) throw error
    throw new CliError(`no backup was made: ${(error as Error).message}`)
  }
}

export const backupSentence = (file: string, size: number): string =>
  `${file}: ${bytes(size)}, encrypted. Without the passphrase nobody can read it, you neither`

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync().finally(() => handle.close())
}
