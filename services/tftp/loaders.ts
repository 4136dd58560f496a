// The boot loaders, read into memory once: afterwards no request can reach the disk.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../src/domain/error.ts'

export type Loader = { bytes: Buffer; sha256: string }
/** Name in lower case → content. */
export type Loaders = ReadonlyMap<string, Loader>

const LARGEST = 64 * 2 ** 20

/**
 * Every plain file directly in one of `folders` (names of letters, digits, `.`, `_`, `-`; hidden files are passed over). AppError `bad-config`
 * when a folder has none, when two files differ only by case or folder, or when one is too big to be a loader.
 */
export function loadLoaders(folders: readonly string[]): Loaders {
  const loaders = new Map<string, Loader>()
  for (const folder of folders) {
    const before = loaders.size
    for (const file of list(folder)) addLoader(loaders, folder, file)
    if (loaders.size === before)
      throw new AppError(
        'bad-config',
        `"boot.loaders": ${folder} holds no boot loader; run image/ipxe/fetch and image/shim/fetch, or name the folders where they are`
      )
  }
  return loaders
}

function addLoader(loaders: Map<string, Loader>, folder: string, file: string): void {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(file)) return
  const path = join(folder, file)
  const stat = statSync(path)
  if (!stat.isFile()) return
  if (stat.size > LARGEST)
    throw new AppError(
      'bad-config',
      `"boot.loaders": ${path} is larger than 64 MiB; only boot loaders belong there`
    )
  const name = file.toLowerCase()
  if (loaders.has(name))
    throw new AppError(
      'bad-config',
      `"boot.loaders": there are two files called ${name}, whatever their case, one of them ${path}; keep one`
    )
  const bytes = shared(readFileSync(path))
  loaders.set(name, { bytes, sha256: createHash('sha256').update(bytes).digest('hex') })
}

/** The same in memory that threads share: whoever serves it needs no copy. */
export function shared(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(new SharedArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    throw new AppError('bad-config', `"boot.loaders": cannot read ${folder}: ${(error as Error).message}`)
  }
}
